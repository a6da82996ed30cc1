"""Training jobs: from a model, a GPU and a parallel layout to a workload of computes and collectives."""
