"""tiffin: a container engine that speaks the Docker Engine API.

    from tiffin import Engine, Settings

runs the engine in your own process; `tiffin daemon` serves it to Docker clients.
"""

__version__ = "0.1.0"

__all__ = ["Engine", "Settings", "__version__"]


def __getattr__(name: str) -> object:
    # Loaded when asked for: the command line imports this package and must stay light.
    if name == "Engine":
        from tiffin.engine.engine import Engine  # noqa: PLC0415

        return Engine
    if name == "Settings":
        from tiffin.engine.settings import Settings  # noqa: PLC0415

        return Settings
    raise AttributeError(f"module 'tiffin' has no attribute {name!r}")
