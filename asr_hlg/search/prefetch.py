"""Asking for memory before it is needed, in code that numba compiles."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


def _prefetch(typing_context, array, index):
    """Have an item of a contiguous array fetched into the cache, without waiting for it."""

    def generate(context, builder, signature, arguments):
        kind, _ = signature.args
        items = context.make_array(kind)(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(items.data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], form)
        builder.call(hint, [address, number(0), number(3), number(1)])  # to read, soon, as data
        return context.get_dummy_value()

    return types.void(array, index), generate


prefetch: Any = intrinsic(_prefetch)
"""``prefetch(array, index)``: an index outside the array is harmless."""
