"""Text that others wrote, as a terminal may print it: the same as src/visible.ts."""

from unicodedata import category


def visible(text: str, kept: str = "\n\t") -> str:
    """Shows characters that steer a terminal, hide or reorder text as \\u001b, but for those that are kept."""
    return "".join(c if c in kept or category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else escaped(c) for c in text)


def escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


class VisibleStream:
    """A stream for text of any origin. Carriage returns stay: progress bars need them."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(visible(text, "\n\t\r"))
        return len(text)

    def __getattr__(self, name: str):
        return getattr(self.stream, name)
