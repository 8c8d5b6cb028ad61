"""``python -m cli.embedded``: the process of ``bobrapet up``. See ``cli.embedded.cluster``."""

from bobrapet.launch import do_without_extras

if __name__ == "__main__":
    do_without_extras()
    from cli.embedded.cluster import main

    main()
