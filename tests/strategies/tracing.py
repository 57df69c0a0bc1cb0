"""Owns compilation that stops after tracing: torch takes a pass apart, checks and keeps it, and runs it as it was."""

import torch._inductor


def traced_only(patch):
    """Let inductor hand back the graphs that it is given, which takes a tenth of the time."""
    patch.setattr(torch._inductor, "compile", lambda graph, inputs, options: graph.forward)
