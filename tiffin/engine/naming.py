"""Identities: ids that are random, names that one can say."""

from __future__ import annotations

import secrets
from collections.abc import Container as Contains

_QUALITIES = (
    "amber brave bright brisk calm candid cheerful clever cosy crisp curious daring deft eager "
    "earnest fair fancy gentle glad golden happy hardy honest humble jolly keen kind lively lucid "
    "mellow merry mild neat nimble noble patient placid plucky polite proud quick quiet ready "
    "serene sharp shy silent sincere sleepy snug sober spry steady sturdy sunny tender tidy trusty "
    "upbeat vivid warm wise witty zesty"
).split()
_THINGS = (
    "almond apricot banyan basil biryani cardamom carrot cashew chapati chutney cinnamon clove "
    "coconut coriander cumin curry dal date dosa fennel fig garlic ghee ginger guava halwa idli "
    "jaggery jasmine kheer korma kulfi ladle lassi lemon lentil lotus mango millet mint mustard "
    "nutmeg okra olive onion orange paneer papaya peach pepper pickle pilau plum pulao quince "
    "radish raita rice saffron sage samosa sesame spinach tamarind thali turmeric vanilla walnut"
).split()


def new_id() -> str:
    """64 random hex digits; the short form never looks like a number (Docker's rule)."""
    while True:
        candidate = secrets.token_hex(32)
        if not candidate[:12].isdecimal():
            return candidate


def new_name(taken: Contains[str]) -> str:
    for _ in range(50):
        name = f"{secrets.choice(_QUALITIES)}_{secrets.choice(_THINGS)}"
        if name not in taken:
            return name
    return f"{secrets.choice(_QUALITIES)}_{secrets.choice(_THINGS)}_{secrets.token_hex(4)}"
