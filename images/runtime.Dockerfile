# What Datasets, Experiments, Deployments and Monitors run in; with Ray on top for backend: Ray.
# Build from the repository's root:
#   docker build -f images/runtime.Dockerfile -t modelyard/runtime:0.1.0 .
#   docker build -f images/runtime.Dockerfile --build-arg IMAGE=ray -t modelyard/ray:0.1.0 .
ARG PYTHON=python:3.11.13-slim-bookworm
FROM ${PYTHON} AS build
ARG IMAGE=runtime
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /source
COPY . .
RUN python images/assemble.py ${IMAGE} /layer

FROM ${PYTHON}
# KubeRay's probes call wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /layer /
ENV PYTHONPATH=/opt/modelyard \
    PATH=/opt/modelyard/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LD_LIBRARY_PATH=/opt/modelyard/lib \
    USER=modelyard \
    HOME=/tmp
USER 65532
CMD ["python", "-m", "modelyard_runtimes.train", "--help"]
