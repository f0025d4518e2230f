"""The code that evaluates forests, compiled for the processor it runs on.

It is one short function, the same for all models, so compiling takes some milliseconds and nothing
is kept. LLVM text is the only source that its compiler takes without headers, linker or files.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

LANES = 32
"""Words of a table's row that are looked at together; rows are a multiple of it long."""

_SOURCE = f"""
; For each row: find for each test the row of the table that its value stands for, intersect these,
; and add up the leaf that is left of each tree.
;
; A test is six numbers: column, kind, first threshold, half of the (padded) number of thresholds,
; first row of the table, row for a missing value. Kinds, as LightGBM's missing_type: 0 takes NaN
; for 0, 1 takes NaN and 0 for missing, 2 takes NaN for missing.
define void @evaluate(ptr noalias %rows, i64 %count, i64 %width, ptr noalias %tests,
                      i64 %test_count, ptr noalias %thresholds, ptr noalias %table,
                      i64 %words, ptr noalias %first, i64 %trees, ptr noalias %leaves,
                      i64 %outputs, ptr noalias %found, ptr noalias %left, ptr noalias %sums) {{
entry:
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
  %value.at = getelementptr double, ptr %values, i64 %column
  %given = load double, ptr %value.at
  %nan = fcmp uno double %given, %given
  %number = select i1 %nan, double 0.0, double %given
  %size = call double @llvm.fabs.f64(double %number)
  %zero = fcmp ole double %size, 0x38AA95A5C0000000 ; 1e-35 as a float, LightGBM's kZeroThreshold
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

declare double @llvm.fabs.f64(double)
declare i32 @llvm.cttz.i32(i32, i1)
!0 = !{{}}
"""

Kernel = Callable[..., None]
_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64
_ARGUMENTS = (
    *(_POINTER, _INTEGER, _INTEGER, _POINTER, _INTEGER),
    *(_POINTER, _POINTER, _INTEGER, _POINTER, _INTEGER, _POINTER, _INTEGER),
    *(_POINTER, _POINTER, _POINTER),
)


@cache
def _engine() -> Any:
    """Return LLVM's engine with the compiled function.

    Raises:
        ImportError: there is no compiler.
    """
    import llvmlite.binding as llvm  # type: ignore[import-untyped]  # noqa: PLC0415

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
    )
    module = llvm.parse_assembly(_SOURCE)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


@cache
def kernel() -> Kernel:
    """Return the compiled function; it lets go of the interpreter's lock.

    Raises:
        ImportError: there is no compiler.
    """
    address = _engine().get_function_address("evaluate")
    function: Kernel = ctypes.CFUNCTYPE(None, *_ARGUMENTS)(address)
    return function
