"""Characters that nobody sees, or that turn and steer what is around them: one table, for terminals and for pages.

They are the controls, the line and paragraph separators, the surrogates and noncharacters, and whatever Unicode calls
Default_Ignorable (DerivedCoreProperties.txt), unassigned ones included; and the blank braille pattern, which no font
draws. Left out are those that decide how a text looks: joiners and variation selectors, which emoji and scripts need.
A test holds the table against `unicodedata`, which is too slow to be asked at each start.
"""

RANGES = (
    (0x0000, 0x0008),
    (0x000B, 0x001F),
    (0x007F, 0x009F),
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200B),
    (0x200E, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xD800, 0xDFFF),
    (0xFDD0, 0xFDEF),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0xFFFE, 0xFFFF),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    *((plane << 16 | 0xFFFE, plane << 16 | 0xFFFF) for plane in range(1, 17)),
    (0xE0000, 0xE0FFF),
)
"""First and last of each; tab and newline are not among them, a carriage return is."""


def character_class(escape: str) -> str:
    """The table inside of a regular expression's brackets; `escape` writes a code point in the language at hand."""
    return "".join(
        escape.format(first) if first == last else f"{escape.format(first)}-{escape.format(last)}"
        for first, last in RANGES
    )
