"""Owns what a Triton kernel does to begin before the one before it has ended; see `_overlap` for the rule."""

import triton
import triton.language as tl


@triton.jit
def begin_dependents():
    """Wait until the kernel before has ended; let the next one begin what does not depend on this one."""
    tl.extra.cuda.gdc_wait()
    tl.extra.cuda.gdc_launch_dependents()
