"""What a name of a device means on this machine; torch is imported when a GPU is asked for, because trees train without it."""


def check_device(device: str) -> None:
    """Raise ValueError if torch cannot use the device."""
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device}: torch cannot use it here ({str(error).splitlines()[0]})") from error


def device_of(device: str, k: int) -> str:
    """Return the device for the training of fold k: `cuda` means all GPUs in turn, other names mean themselves."""
    if device != "cuda":
        return device
    import torch

    n_devices = torch.cuda.device_count()
    return f"cuda:{k % n_devices}" if n_devices > 1 else device


def count_gpus(device: str) -> int | None:
    """Return the number of GPUs of this machine that a device means: all for `cuda`, one for `cuda:1`; None for the CPU."""
    if device == "cpu":
        return None
    import torch

    return max(1, torch.cuda.device_count()) if device == "cuda" else 1
