"""Fetching ahead: what compiled code will need soon comes from memory while it computes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def prefetch(_typing_context: Any, array: Any, _index: Any) -> Any:
    """Begin to fetch ``array.ravel()[index]``; beyond the end of the array that does no harm."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> None:
        data = context.make_array(array)(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(fetch, [address, number(0), number(3), number(1)])  # data, to read, into every cache

    return types.void(array, types.intp), generate
