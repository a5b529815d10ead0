"""Colours that colour-blind people can tell apart, by Okabe and Ito."""

from __future__ import annotations

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#888888",
)
"""All of them stand out from white and from black."""

PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, "#56b4e9", "#b8ac00", GREY)
"""For things that have no order; where there are more, they share the last."""

_OF_STATUS = {
    "ok": BLUE,
    "simulated": BLUE,
    "prepared": GREEN,
    "error": RED,
    "timeout": ORANGE,
    "killed": PURPLE,
}


def colour_of(status: str) -> str:
    """Give the colour of a ``_status``.

    Examples
    --------
    >>> colour_of("ok") == colour_of("simulated") != colour_of("error")
    True
    """
    return _OF_STATUS.get(status, GREY)
