package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/engine"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Argo CD marks with this annotation what it has applied, and prunes only that.
const trackingAnnotation = "argocd.argoproj.io/tracking-id"

const syncTimeout = 60 * time.Second

// syncer keeps a cluster as HEAD of a git repository says.
type syncer struct {
	repository string
	serverSide bool
	overrides  lua.ResourceHealthOverrides
	cluster    cache.ClusterCache
	engine     engine.GitOpsEngine
	dryRunner  diff.ServerSideDryRunner
}

// object is what Argo CD would show of an object that git declares, or that it would prune.
type object struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Health   string `json:"health"`
	Message  string `json:"message"`
	InSync   bool   `json:"inSync"`
	Declared bool   `json:"declared"`
	Diff     string `json:"diff,omitempty"`
}

type result struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

func runEngine(arguments []string) error {
	flags := flag.NewFlagSet("engine", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	customizations := flags.String("customizations", "", "the patch of argocd-cm")
	repository := flags.String("repository", "", "the git repository to sync from")
	serverSide := flags.Bool("server-side", false, "apply on the server's side")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	overrides, err := readCustomizations(*customizations)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	s, cleanup, err := newSyncer(config, overrides, *repository, *serverSide)
	if err != nil {
		return err
	}
	defer cleanup()
	return s.serve()
}

func newSyncer(
	config *rest.Config, overrides lua.ResourceHealthOverrides, repository string, serverSide bool,
) (*syncer, func(), error) {
	log := logr.Discard()
	cluster := cache.NewClusterCache(config,
		cache.SetLogr(log),
		cache.SetSettings(cache.Settings{ResourceHealthOverride: overrides, ResourcesFilter: everything{}}),
		cache.SetPopulateResourceInfoHandler(func(found *unstructured.Unstructured, _ bool) (any, bool) {
			tracked := found.GetAnnotations()[trackingAnnotation] != ""
			return tracked, tracked
		}),
	)
	gitops := engine.NewEngine(config, cluster, engine.WithLogr(log))
	stop, err := gitops.Run()
	if err != nil {
		return nil, nil, err
	}
	kubectl := &kube.KubectlCmd{Log: log, Tracer: tracing.NopTracer{}}
	applier, closeApplier, err := kubectl.ManageServerSideDiffDryRuns(config)
	if err != nil {
		return nil, nil, err
	}
	s := &syncer{
		repository: repository, serverSide: serverSide, overrides: overrides,
		cluster: cluster, engine: gitops, dryRunner: diff.NewK8sServerSideDryRunner(applier),
	}
	return s, func() { closeApplier(); stop() }, nil
}

type everything struct{}

func (everything) IsExcludedResource(_, _, _ string) bool { return false }

func (s *syncer) serve() error {
	encoder := json.NewEncoder(os.Stdout)
	if err := encoder.Encode("ready"); err != nil {
		return err
	}
	commands := map[string]func() (any, error){"sync": s.sync, "state": s.state}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command := commands[lines.Text()]
		if command == nil {
			return fmt.Errorf("unknown command %q", lines.Text())
		}
		answer, err := command()
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if err := encoder.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// targets returns what HEAD declares, each object marked as ours.
func (s *syncer) targets() ([]*unstructured.Unstructured, string, error) {
	revision, err := s.git("rev-parse", "HEAD")
	if err != nil {
		return nil, "", err
	}
	names, err := s.git("ls-tree", "-r", "--name-only", "HEAD")
	if err != nil {
		return nil, "", err
	}
	var found []*unstructured.Unstructured
	for _, name := range strings.Fields(names) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		text, err := s.git("show", "HEAD:"+name)
		if err != nil {
			return nil, "", err
		}
		objects, err := kube.SplitYAML([]byte(text))
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", name, err)
		}
		found = append(found, objects...)
	}
	for _, one := range found {
		annotations := one.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		key := kube.GetResourceKey(one)
		annotations[trackingAnnotation] = "test:" + key.String()
		one.SetAnnotations(annotations)
	}
	return found, strings.TrimSpace(revision), nil
}

func (s *syncer) git(arguments ...string) (string, error) {
	command := exec.Command("git", arguments...)
	command.Dir = s.repository
	command.Stderr = os.Stderr
	output, err := command.Output()
	return string(output), err
}

func isManaged(found *cache.Resource) bool {
	tracked, _ := found.Info.(bool)
	return tracked
}

// sync applies HEAD and prunes what HEAD no longer declares.
func (s *syncer) sync() (any, error) {
	targets, revision, err := s.targets()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), syncTimeout)
	defer cancel()
	synced, err := s.engine.Sync(ctx, targets, isManaged, revision, "",
		sync.WithPrune(true),
		sync.WithHealthOverride(s.overrides),
		sync.WithServerSideApply(s.serverSide),
		sync.WithServerSideApplyManager("argocd-controller"),
		sync.WithLogr(logr.Discard()),
	)
	if err != nil {
		return nil, err
	}
	results := []result{}
	for _, one := range synced {
		key := one.ResourceKey
		results = append(results, result{key.Kind, key.Name, string(one.Status), one.Message})
	}
	return results, nil
}

// state compares HEAD with what is live, and tells the health of it.
func (s *syncer) state() (any, error) {
	targets, _, err := s.targets()
	if err != nil {
		return nil, err
	}
	live, err := s.cluster.GetManagedLiveObjs(targets, isManaged)
	if err != nil {
		return nil, err
	}
	paired := sync.Reconcile(targets, live, "", s.cluster)
	shown := []object{}
	for index, target := range paired.Target {
		one, err := s.compare(target, paired.Live[index])
		if err != nil {
			return nil, err
		}
		shown = append(shown, *one)
	}
	return shown, nil
}

func (s *syncer) compare(target, live *unstructured.Unstructured) (*object, error) {
	named := live
	if named == nil {
		named = target
	}
	shown := &object{Kind: named.GetKind(), Name: named.GetName(), Declared: target != nil}
	if live == nil {
		shown.Health = string(health.HealthStatusMissing)
		return shown, nil
	}
	found, err := health.GetResourceHealth(live, s.overrides)
	if err != nil {
		return nil, err
	}
	if found != nil {
		shown.Health, shown.Message = string(found.Status), found.Message
	}
	if target == nil {
		return shown, nil
	}
	options := []diff.Option{diff.WithLogr(logr.Discard())}
	if s.serverSide {
		options = append(options,
			diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(s.dryRunner),
			diff.WithManager("argocd-controller"), diff.WithGVKParser(s.cluster.GetGVKParser()))
	}
	difference, err := diff.Diff(target, live, options...)
	if err != nil {
		return nil, err
	}
	shown.InSync = !difference.Modified
	if difference.Modified {
		shown.Diff = fmt.Sprintf("live %s, predicted %s", difference.NormalizedLive, difference.PredictedLive)
	}
	return shown, nil
}
