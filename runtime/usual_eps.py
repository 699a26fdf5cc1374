"""The literature's radius of the Linf ball."""


def usual_linf_eps(channels: int) -> float:
    """MNIST's for grey images, CIFAR-10's for colour; in units of pixels in [0, 1].

    >>> usual_linf_eps(1), usual_linf_eps(3) * 255
    (0.3, 8.0)
    """
    return 0.3 if channels == 1 else 8 / 255
