"""The arguments and results of every function, for the generator: kinds of arguments that make sense.

A kind is a type of the language (``str int int64 float bool list strs map smap time version any nil``) or a narrower
pool of strings and numbers (``pools``). ``*`` after the last kind means any number of arguments of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Signature:
    """``result`` of a call with ``arguments``; ``variadic`` if the last argument may be repeated or left out."""

    name: str
    arguments: tuple[str, ...]
    variadic: bool
    result: str


_TABLE: Final = """
and any any* -> any            | or any any* -> any             | not any -> bool
eq num num* -> bool            | ne num num -> bool             | lt num num -> bool
le str str -> bool             | gt str str -> bool             | ge num num -> bool
index any any* -> any          | print any* -> str              | println any* -> str
printf format any* -> str      | html any* -> str               | js any* -> str
urlquery any* -> str           | call any any* -> any

len sized -> int               | hash_of str -> str             | type_of any -> str
exists any -> bool             | sample any -> any              | required str any -> any

trim str -> str                | trimAll cut str -> str         | trimall cut str -> str
trimPrefix cut str -> str      | trimSuffix cut str -> str      | upper str -> str
lower str -> str               | title str -> str               | untitle str -> str
trunc small str -> str         | substr small small str -> str  | abbrev small str -> str
abbrevboth small small str -> str | contains cut str -> bool    | hasPrefix cut str -> bool
hasSuffix cut str -> bool      | replace cut str str -> str     | quote any* -> str
squote any* -> str             | cat any* -> str                | indent small str -> str
nindent small str -> str       | wrap small str -> str          | wrapWith small cut str -> str
nospace str -> str             | initials str -> str            | plural str str int -> str
snakecase word -> str          | kebabcase word -> str          | camelcase word -> str
swapcase str -> str            | toString any -> str            | repeat small str -> str

int number -> int              | int64 number -> int64          | float64 number -> float
atoi digits -> int             | toDecimal number -> int64      | add number* -> int64
add1 number -> int64           | sub number number -> int64     | mul number number* -> int64
div number number -> int64     | mod number number -> int64     | addf number* -> float
add1f number -> float          | subf number number* -> float   | mulf number number* -> float
divf number number* -> float   | max number number* -> int64    | min number number* -> int64
biggest number number* -> int64 | maxf number number* -> float  | minf number number* -> float
ceil number -> float           | floor number -> float          | round number small -> float
until small -> list            | untilStep small small small -> list | seq small* -> str

empty any -> bool              | default any any -> any         | coalesce any* -> any
all any* -> bool               | any any* -> bool               | ternary any any bool -> any
toJson any -> str              | toPrettyJson any -> str        | toRawJson any -> str
mustToJson any -> str          | mustToPrettyJson any -> str    | mustToRawJson any -> str
fromJson json -> any           | mustFromJson json -> any       | typeOf any -> str
kindOf any -> str              | typeIs typename any -> bool    | typeIsLike typename any -> bool
kindIs kind any -> bool        | deepEqual any any -> bool      | fail str -> str

list any* -> list              | tuple any* -> list             | first list -> any
mustFirst list -> any          | last list -> any               | mustLast list -> any
rest list -> list              | mustRest list -> list          | initial list -> list
mustInitial list -> list       | append list any -> list        | mustAppend list any -> list
push list any -> list          | mustPush list any -> list      | prepend list any -> list
mustPrepend list any -> list   | concat list* -> list           | reverse list -> list
mustReverse list -> list       | uniq list -> list              | mustUniq list -> list
compact list -> list           | mustCompact list -> list       | without list any* -> list
mustWithout list any* -> list  | has any list -> bool           | mustHas any list -> bool
slice list small* -> list      | mustSlice list small* -> list  | sortAlpha list -> strs
toStrings any -> strs          | join cut list -> str           | split cut str -> smap
splitn cut small str -> smap   | splitList cut str -> strs      | chunk small list -> list
mustChunk small list -> list

dict pair* -> map              | get map key -> any             | hasKey map key -> bool
pick map key* -> map           | omit map key* -> map           | pluck key map* -> list
keys map* -> strs              | values map -> list             | dig key key any map -> any
set map key any -> map         | unset map key -> map           | merge map map* -> map
mergeOverwrite map map* -> map | mustMerge map map* -> map      | mustMergeOverwrite map map* -> map
deepCopy any -> any            | mustDeepCopy any -> any

date layout instant -> str     | htmlDate instant -> str        | dateInZone layout instant zone -> str
date_in_zone layout instant zone -> str | htmlDateInZone instant zone -> str | toDate layout moment -> time
mustToDate layout moment -> time | dateModify span time -> time | date_modify span time -> time
mustDateModify span time -> time | must_date_modify span time -> time | unixEpoch time -> str
duration seconds -> str        | durationRound span -> str

b64enc str -> str              | b64dec base64 -> str           | b32enc str -> str
b32dec base64 -> str           | sha1sum str -> str             | sha256sum str -> str
sha512sum str -> str           | adler32sum str -> str          | base path -> str
dir path -> str                | clean path -> str              | ext path -> str
isAbs path -> bool             | osBase path -> str             | osDir path -> str
osClean path -> str            | osExt path -> str              | osIsAbs path -> bool

urlParse url -> map             | urlJoin urlparts -> str        | hello -> str

semver release -> version      | semverCompare range release -> bool

regexMatch pattern str -> bool | mustRegexMatch pattern str -> bool | regexFind pattern str -> str
mustRegexFind pattern str -> str | regexFindAll pattern str small -> strs
mustRegexFindAll pattern str small -> strs | regexReplaceAll pattern str substitute -> str
mustRegexReplaceAll pattern str substitute -> str | regexReplaceAllLiteral pattern str substitute -> str
mustRegexReplaceAllLiteral pattern str substitute -> str | regexSplit pattern str small -> strs
mustRegexSplit pattern str small -> strs | regexQuoteMeta str -> str | mustRegexQuoteMeta str -> str
"""

BY_CHANCE: Final = {
    "now": "(now | typeOf)",
    "ago": "(ago (toDate `2006` `1999`) | typeOf)",
    "uuidv4": "(len uuidv4)",
    "shuffle": "(shuffle `aaa`)",
    "randInt": "(randInt 3 4)",
    "randAlpha": "(len (randAlpha 5))",
    "randAlphaNum": "(len (randAlphaNum 5))",
    "randAscii": "(len (randAscii 5))",
    "randBytes": "(len (randBytes 5))",
    "randNumeric": "(len (randNumeric 5))",
}
"""Functions whose result is different each time, in a form whose result is always the same."""


def _parse(entry: str) -> Signature:
    head, result = entry.split("->")
    name, *arguments = head.split()
    variadic = bool(arguments) and arguments[-1].endswith("*")
    return Signature(name, tuple(argument.rstrip("*") for argument in arguments), variadic, result.strip())


SIGNATURES: Final[dict[str, Signature]] = {
    signature.name: signature
    for signature in (_parse(entry) for line in _TABLE.splitlines() for entry in line.split("|") if entry.strip())
}
