"""A device that is not the CPU, on a machine without a GPU: "pretend". Its tensors hold tensors of the CPU.

So its numbers are the CPU's to the last bit, and what a GPU refuses is refused: a product with a tensor of the CPU,
`numpy()`, a random number from the CPU's generator. Autograd and the fused AdamW run on it. Importing this file sets it
up; sitecustomize.py beside it does where FOUNDRY_DEVICE says "pretend".
"""

import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
aten = torch.ops.aten


class There(torch.Tensor):
    """A tensor on the pretended device; `cpu_tensor` holds its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, cpu_tensor):
        form = dict(strides=cpu_tensor.stride(), storage_offset=cpu_tensor.storage_offset(), dtype=cpu_tensor.dtype)
        return torch.Tensor._make_wrapper_subclass(cls, cpu_tensor.size(), **form, device=torch.device(NAME, 0))

    def __init__(self, cpu_tensor):
        self.cpu_tensor = cpu_tensor

    def tolist(self):
        return self.cpu_tensor.tolist()

    def __format__(self, form):
        return format(self.cpu_tensor, form)

    def __repr__(self, **options):
        return f"{self.cpu_tensor!r} on {NAME}"

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return compute(operation, args, kwargs or {})


def compute(operation, args, kwargs):
    """Compute on the CPU; the result is on the device that the arguments are on, or that `device` names."""
    strangers = []

    def here(value):
        if isinstance(value, There):
            return value.cpu_tensor
        if isinstance(value, (list, tuple)):
            return type(value)(map(here, value))
        if isinstance(value, torch.Tensor) and value.dim():
            strangers.append(value)
        return value

    target = kwargs.get("device")
    cpu_args, cpu_kwargs = here(args), {name: here(value) for name, value in kwargs.items()}
    if target is not None:
        cpu_kwargs["device"] = torch.device("cpu")
    elif strangers and operation is not aten.copy_.default:
        raise RuntimeError(f"Expected all tensors on one device, but {operation} got one on cpu and one on {NAME}.")
    generator = kwargs.get("generator")
    if generator is not None:
        raise RuntimeError(f"Expected a generator on {NAME}, found one on {generator.device} ({operation}).")
    result = operation(*cpu_args, **cpu_kwargs)
    if target is not None and torch.device(target).type != NAME:
        return result
    written = operation._schema.returns and operation._schema.returns[0].alias_info
    if written is not None and written and written.is_write and not isinstance(result, (list, tuple)):
        return kwargs["out"] if "out" in kwargs else args[0]  # an operation in place returns its own tensor
    return there(result)


def there(result):
    """What an operation returned, with its tensors on the pretended device."""
    if isinstance(result, torch.Tensor):
        return There(result)
    return type(result)(map(there, result)) if isinstance(result, (list, tuple)) else result


def empty(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return There(torch.empty(size, dtype=dtype, device="cpu"))


def empty_strided(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    return There(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def copy_from(source, target, non_blocking=False):
    ours, theirs = (tensor.cpu_tensor if isinstance(tensor, There) else tensor for tensor in (target, source))
    ours.copy_(theirs)
    return target


_setup_privateuseone_for_python_backend(NAME)
library = torch.library.Library("aten", "IMPL")  # must not be collected
library.impl("empty.memory_format", empty, "PrivateUse1")
library.impl("empty_strided", empty_strided, "PrivateUse1")
library.impl("_copy_from", copy_from, "PrivateUse1")  # what `torch.tensor(ids, device=…)` ends in
torch.inference_mode = torch.no_grad  # inference tensors cannot be wrapped
torch.accelerator.synchronize = lambda device=None: None  # an operation has ended when it returns
