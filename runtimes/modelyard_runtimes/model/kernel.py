"""The code that evaluates forests, compiled for the processor it runs on.

It is one short function, the same for all models, so compiling takes some milliseconds. LLVM text
is the only source that its compiler takes without headers, linker or files.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from modelyard_runtimes.model.errors import NotCompiled

LANES = 32
"""Words of a table's row that are looked at together; rows are a multiple of it long."""


class Arguments(ctypes.Structure):
    """What the function takes, by reference.

    Attributes:
        rows: Address of the rows, numbers one row after the other.
        count: How many.
        width: Numbers in each.
        tests: Address of the tests.
        test_count: How many.
        thresholds: Address of the thresholds.
        table: Address of the table.
        words: Words in a row of it.
        first: Address of the trees' first words.
        trees: How many trees.
        leaves: Address of the leaves' values.
        outputs: Sums that a row gets.
        found: Address of scratch space, an integer for each test.
        left: Address of scratch space, `words` words.
        sums: Address of the sums that are written, row by row.
    """

    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("tests", ctypes.c_void_p),
        ("test_count", ctypes.c_int64),
        ("thresholds", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("words", ctypes.c_int64),
        ("first", ctypes.c_void_p),
        ("trees", ctypes.c_int64),
        ("leaves", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("found", ctypes.c_void_p),
        ("left", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
    )


def _loads() -> str:
    """Return the lines that load each of the arguments into a value of its name."""
    return "\n".join(
        f"  %{name}.place = getelementptr i64, ptr %arguments, i64 {position}\n"
        f"  %{name} = load {'ptr' if kind is ctypes.c_void_p else 'i64'}, ptr %{name}.place"
        for position, (name, kind) in enumerate(Arguments._fields_)
    )


_SOURCE = f"""
; For each row: find for each test the row of the table that its value stands for, intersect these,
; and add up the leaf that is left of each tree.
;
; A test is six numbers: column, kind, first threshold, half of the (padded) number of thresholds,
; first row of the table, row for a missing value. Kinds, as LightGBM's missing_type: 0 takes NaN
; for 0, 1 takes NaN and 0 for missing, 2 takes NaN for missing.
;
; No constant is a floating-point number: those would lie outside of the function's own bytes.
define void @evaluate(ptr noalias %arguments) nounwind {{
entry:
{_loads()}
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %row

row:
  %r = phi i64 [ 0, %entry ], [ %r.next, %row.end ]
  %row.offset = mul i64 %r, %width
  %values = getelementptr double, ptr %rows, i64 %row.offset
  %out.offset = mul i64 %r, %outputs
  %out = getelementptr double, ptr %sums, i64 %out.offset
  br label %test

; --- which row of the table a value stands for
test:
  %t = phi i64 [ 0, %row ], [ %t.next, %test.end ]
  %t6 = mul i64 %t, 6
  %test.at = getelementptr i64, ptr %tests, i64 %t6
  %column = load i64, ptr %test.at
  %kind.at = getelementptr i64, ptr %test.at, i64 1
  %kind = load i64, ptr %kind.at
  %begin.at = getelementptr i64, ptr %test.at, i64 2
  %begin = load i64, ptr %begin.at
  %half.at = getelementptr i64, ptr %test.at, i64 3
  %half = load i64, ptr %half.at
  %base.at = getelementptr i64, ptr %test.at, i64 4
  %base = load i64, ptr %base.at
  %missing.at = getelementptr i64, ptr %test.at, i64 5
  %missing = load i64, ptr %missing.at
  %given.at = getelementptr double, ptr %values, i64 %column
  %given = load double, ptr %given.at
  %nan = fcmp uno double %given, %given
  %number = select i1 %nan, double 0.0, double %given
  %pattern = bitcast double %number to i64
  %size = and i64 %pattern, {(1 << 63) - 1}
  %zero = icmp ule i64 %size, {0x38AA95A5C0000000} ; 1e-35 as a float, LightGBM's kZeroThreshold
  %value = select i1 %zero, double 0.0, double %number
  %kind1 = icmp eq i64 %kind, 1
  %kind2 = icmp eq i64 %kind, 2
  %absent1 = and i1 %kind1, %zero
  %absent2 = and i1 %kind2, %nan
  %absent = or i1 %absent1, %absent2
  %limits = getelementptr double, ptr %thresholds, i64 %begin
  %any = icmp ne i64 %half, 0
  br i1 %any, label %halve, label %test.end

halve:
  %step = phi i64 [ %half, %test ], [ %step.next, %halve ]
  %below = phi i64 [ 0, %test ], [ %below.next, %halve ]
  %middle = add i64 %below, %step
  %limit.index = sub i64 %middle, 1
  %limit.at = getelementptr double, ptr %limits, i64 %limit.index
  %limit = load double, ptr %limit.at
  %over = fcmp olt double %limit, %value
  %below.next = select i1 %over, i64 %middle, i64 %below, !unpredictable !0
  %step.next = lshr i64 %step, 1
  %more.steps = icmp ne i64 %step.next, 0
  br i1 %more.steps, label %halve, label %test.end

test.end:
  %rank = phi i64 [ 0, %test ], [ %below.next, %halve ]
  %ranked = add i64 %base, %rank
  %table.row = select i1 %absent, i64 %missing, i64 %ranked
  %table.offset = mul i64 %table.row, %words
  %found.at = getelementptr i64, ptr %found, i64 %t
  store i64 %table.offset, ptr %found.at
  %t.next = add i64 %t, 1
  %more.tests = icmp ult i64 %t.next, %test_count
  br i1 %more.tests, label %test, label %chunk

; --- the leaves that all tests leave
chunk:
  %w = phi i64 [ 0, %test.end ], [ %w.next, %chunk.end ]
  br label %meet

meet:
  %m = phi i64 [ 0, %chunk ], [ %m.next, %meet ]
  %kept = phi <{LANES} x i32> [ splat (i32 -1), %chunk ], [ %kept.next, %meet ]
  %offset.at = getelementptr i64, ptr %found, i64 %m
  %offset = load i64, ptr %offset.at
  %word.index = add i64 %offset, %w
  %word.at = getelementptr i32, ptr %table, i64 %word.index
  %word = load <{LANES} x i32>, ptr %word.at, align 4
  %kept.next = and <{LANES} x i32> %kept, %word
  %m.next = add i64 %m, 1
  %more.meets = icmp ult i64 %m.next, %test_count
  br i1 %more.meets, label %meet, label %chunk.end

chunk.end:
  %left.at = getelementptr i32, ptr %left, i64 %w
  store <{LANES} x i32> %kept.next, ptr %left.at, align 4
  %w.next = add i64 %w, {LANES}
  %more.chunks = icmp ult i64 %w.next, %words
  br i1 %more.chunks, label %chunk, label %output

; --- the sum of these leaves, for each output in the order of its trees
output:
  %o = phi i64 [ 0, %chunk.end ], [ %o.next, %output.end ]
  br label %tree

tree:
  %i = phi i64 [ %o, %output ], [ %i.next, %tree.end ]
  %sum = phi double [ 0.0, %output ], [ %sum.next, %tree.end ]
  %first.at = getelementptr i64, ptr %first, i64 %i
  %start = load i64, ptr %first.at
  br label %seek

seek:
  %s = phi i64 [ %start, %tree ], [ %s.next, %seek ]
  %bits.at = getelementptr i32, ptr %left, i64 %s
  %bits = load i32, ptr %bits.at
  %s.next = add i64 %s, 1
  %empty = icmp eq i32 %bits, 0
  br i1 %empty, label %seek, label %tree.end

tree.end:
  %bit = call i32 @llvm.cttz.i32(i32 %bits, i1 true)
  %bit.wide = zext i32 %bit to i64
  %leaf.start = shl i64 %s, 5
  %leaf.index = add i64 %leaf.start, %bit.wide
  %leaf.at = getelementptr double, ptr %leaves, i64 %leaf.index
  %leaf = load double, ptr %leaf.at
  %sum.next = fadd double %sum, %leaf
  %i.next = add i64 %i, %outputs
  %more.trees = icmp ult i64 %i.next, %trees
  br i1 %more.trees, label %tree, label %output.end

output.end:
  %out.at = getelementptr double, ptr %out, i64 %o
  store double %sum.next, ptr %out.at
  %o.next = add i64 %o, 1
  %more.outputs = icmp ult i64 %o.next, %outputs
  br i1 %more.outputs, label %output, label %row.end

row.end:
  %r.next = add i64 %r, 1
  %more.rows = icmp ult i64 %r.next, %count
  br i1 %more.rows, label %row, label %done

done:
  ret void
}}

declare i32 @llvm.cttz.i32(i32, i1)
!0 = !{{}}
"""

Kernel = Callable[[Any], None]
"""Takes a reference to Arguments."""


def _llvm() -> Any:
    """Return the compiler.

    Raises:
        NotCompiled: there is none.
    """
    try:
        import llvmlite.binding as llvm  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise NotCompiled("llvmlite is not installed") from error
    return llvm


def _compiled(**options: Any) -> tuple[Any, Any]:
    """Return LLVM's module with the function, and the machine it is compiled for.

    Args:
        options: How the machine's code is laid out.

    Raises:
        NotCompiled: there is no compiler.
    """
    llvm = _llvm()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        **options,
    )
    module = llvm.parse_assembly(_SOURCE)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module, machine


@cache
def _engine() -> Any:
    """Return LLVM's engine with the compiled function.

    Raises:
        NotCompiled: there is no compiler.
    """
    module, machine = _compiled()
    engine = _llvm().create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


@cache
def kernel() -> Kernel:
    """Return the compiled function; it lets go of the interpreter's lock.

    Raises:
        NotCompiled: there is no compiler.
    """
    address = _engine().get_function_address("evaluate")
    function: Kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
    return function


@cache
def machine_code() -> bytes:
    """Return the function's bytes, which work wherever they lie in memory.

    Raises:
        NotCompiled: there is no compiler, or on this machine they need more than themselves.
    """
    llvm = _llvm()
    module, machine = _compiled(reloc="pic", codemodel="default")
    sections = {
        section.name().decode(): section.data()
        for section in llvm.ObjectFileRef.from_data(machine.emit_object(module)).sections()
        if section.size()
    }
    if ".text" not in sections or sections.keys() & {".rel.text", ".rela.text"}:
        raise NotCompiled("its code refers to something beside it on this kind of machine")
    code: bytes = sections[".text"]
    return code
