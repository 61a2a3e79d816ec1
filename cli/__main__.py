"""Where the `sluice` command begins."""

import signal


def main() -> None:
    """Run the command; Ctrl-C while it is loaded ends it without a word, as it ends most programs (130 in a shell)."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # whoever has it ignored wants that
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.commands import sluice  # noqa: PLC0415 - takes most of a second

    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, before)
    sluice(prog_name="sluice")


if __name__ == "__main__":
    main()
