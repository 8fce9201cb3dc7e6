"""Each lesson on a device that is not the CPU, without a GPU: the pretended one of tests/offline/pretend.py.

A lesson turns red where it makes a model, a loader, a training or a tensor that is not on the chosen device, because
the pretended device computes with its own tensors only. Its numbers are the CPU's, so that the stored outputs are
compared strictly. Two lessons in the ordinary run, all of them with --long.
"""
