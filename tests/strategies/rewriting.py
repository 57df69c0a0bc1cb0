"""Passes traced by torch.compile, rewritten, and run node by node."""

import torch


def rewriting(counts, *rewrites):
    """What compiles a pass, as it would be but run node by node; what each rewrite counts is added to `counts`."""

    def compile_pass(run):
        def backend(graph, inputs):
            counts.extend(rewrite(graph) for rewrite in rewrites)
            return graph

        compiled = torch.compile(run, backend=backend, fullgraph=True, dynamic=False)
        is_laid_out = []

        def run_compiled(ids):
            if not is_laid_out:
                is_laid_out.append(run(ids))
            if ids.shape[1] > 1:
                torch._dynamo.mark_dynamic(ids, 1)
            return compiled(ids)

        return run_compiled

    return compile_pass
