"""Every error code that a person may see, with its meaning: the reference page is made from this table."""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    "E100": "The file is not YAML; the message has the parser's complaint.",
    "E101": "Aliases expand to more than 10,000 values.",
    "E102": "An alias stands inside what it refers to.",
    "E103": "A key stands twice in one mapping.",
    "E104": "A tag such as `!!python/object` is not allowed.",
    "E105": "A character or encoding is not allowed: a tab in the indentation, bytes that are not UTF-8.",
    "E106": "A document holds no resource.",
    "E107": "The input is too large: 1 MiB and 50,000 values per file, 64 levels, 1,000 files and 16 MiB in all.",
    "E108": "A file or folder cannot be read.",
    "E109": "There are more problems than are shown.",
    "E110": "A field is unknown.",
    "E111": "A value has the wrong type, or means different things to different YAML readers.",
    "E112": "A name breaks the rule for names.",
    "E113": "A value is outside its bounds.",
    "E114": "A duration is malformed or out of range.",
    "E115": "The apiVersion or kind is unknown.",
    "E116": "A function is neither synchronous nor asynchronous, or both.",
    "E117": "The same thing is declared twice.",
    "E118": "Of several fields exactly one, or at most one, may be set.",
    "E119": "A required field is missing.",
    "E120": "A reference points into another namespace.",
    "E121": "A field of the pod template is not allowed.",
    "E122": "A topic breaks the rule of its broker.",
    "E123": "A schedule is malformed.",
    "E124": "Events would go round in a loop.",
    "E125": "A condition or filter cannot be compiled.",
    "E126": "A text is too long.",
    "E127": "A field cannot be changed after creation.",
}
"""Code -> meaning, one line."""
