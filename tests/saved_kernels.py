"""A kernel whose compiled forms test_ahead.py saves from two processes at once."""

from tinyfer.kernels.compile import kernel


@kernel
def add(numbers):
    total = 0
    for number in numbers:
        total += number
    return total
