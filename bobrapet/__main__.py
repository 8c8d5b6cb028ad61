"""The ``bobrapet`` command: entry point of the console scripts, and of ``python -m bobrapet``."""

from __future__ import annotations

from bobrapet.launch import own_modules_first


def main() -> None:
    """Run the command with our own modules; always ends with ``SystemExit``."""
    own_modules_first()
    from cli import main as command  # only now is its folder known to be ours

    command.main()


if __name__ == "__main__":
    main()
