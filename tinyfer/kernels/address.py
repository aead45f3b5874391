"""Kernels that are called by their address, so that each is compiled once.

LLVM compiles a kernel anew inside every kernel that calls it, and once more for the parallel loop around it. For the
tile kernels, long straight-line code with several callers, that was two thirds of a first start. So they are compiled
on their own, and whoever calls them is told their address: a number. A signature written down beside them keeps caller
and kernel in step: Numba converts what is passed to it, or says that it cannot."""

import operator

from numba.core import cgutils, types
from numba.extending import intrinsic

_kept = []  # the code behind an address lives as long as its kernel


def address(kernel, kinds: tuple) -> int:
    """Where the machine code of `kernel` for arguments of these types lies; compiled now if it never was."""
    kernel.compile(kinds)
    library, description = operator.attrgetter("library", "fndesc")(kernel.overloads[kinds])
    _kept.append(kernel)
    return library.get_pointer_to_function(description.llvm_func_name)


def caller(kinds: tuple):
    """A function for kernels, call(address, arguments): runs the kernel of that signature that lies at `address`.

    Such kernels answer nothing and raise nothing."""

    @intrinsic
    def call(typing, address, arguments):
        def codegen(context, builder, signature, values):
            convention = context.call_conv
            function = convention.get_function_type(types.none, kinds)
            at = builder.inttoptr(values[0], function.as_pointer())
            answer, error = (cgutils.alloca_once(builder, kind.pointee, zfill=True) for kind in function.args[:2])
            packed = context.get_arg_packer(kinds).as_arguments(builder, cgutils.unpack_tuple(builder, values[1]))
            builder.call(at, [answer, error, *packed])
            return context.get_dummy_value()

        return types.none(types.int64, types.Tuple(kinds)), codegen

    return call
