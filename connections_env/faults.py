"""What goes wrong at an endpoint: the kinds of faults, and which request is hit by which.

    faults = Faults([fault_of("503=0.05"), fault_of("stall@20-30"), fault_of("reset#7")], seed=0)
    hit = faults.for_request("rollout-1", raw_body, now=12.5)   # seconds since the server started

Nothing here touches a socket or reads a clock: `deliveries.py` says what goes over the wire and `serving.py` sends it.
Whether a rate hits a request depends on the seed, the request id, the body and the number of the attempt alone, so a
run can be repeated and a retry may fare better.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Nature = Literal["passes", "harmless", "spoils", "final"]
"""Another attempt may be answered; the answer is as good as any; the answer is no good; no attempt will be answered."""

KINDS: dict[str, tuple[Nature, str]] = {
    "429": ("passes", "429 with Retry-After in seconds"),
    "429-date": ("passes", "429 with Retry-After as an HTTP date"),
    "429-bare": ("passes", "429 without Retry-After"),
    "500": ("passes", "500 with a JSON error"),
    "502": ("passes", "502 with the HTML page of a proxy"),
    "503": ("passes", "503 with a JSON error"),
    "529": ("passes", "529, overloaded"),
    "refused": (
        "passes",
        "in a span nobody listens and open connections are reset; by rate or number a connection (not a request) is "
        "closed as soon as it is accepted",
    ),
    "reset": ("passes", "the connection is reset (RST) before a byte of the answer"),
    "reset-body": ("passes", "the connection is reset (RST) in the middle of the body"),
    "stall": ("passes", "no answer ever comes, the connection stays open"),
    "drip": ("passes", "the body comes byte by byte, four bytes a second"),
    "truncated": ("passes", "200, its JSON cut off in the middle, Content-Length in order"),
    "invalid": ("passes", "200, its body nearly JSON: in single quotes"),
    "html": ("passes", "200 with an error page in HTML"),
    "no-choices": ("passes", "200 with an empty list of choices"),
    "null-content": ("spoils", "200, the content is null; reasoning comes"),
    "parts": ("harmless", "200, the content is a list of parts"),
    "length": ("spoils", "200, the content cut in half, finish_reason length"),
    "content-filter": ("spoils", "200, no content, finish_reason content_filter"),
    "no-usage": ("harmless", "200 without usage"),
    "401": ("final", "401, the key is wrong"),
    "402": ("final", "402, no balance left"),
    "403": ("final", "403, not allowed"),
    "404": ("final", "404, unknown model, as OpenAI says it"),
    "400-model": ("final", "400, unknown model, as DeepSeek says it"),
    "too-long": ("final", "400, the context length is exceeded, as OpenAI says it"),
    "422": ("final", "422, the body is wrong, the error a list of details"),
    "blank-lines": ("harmless", "200, blank lines before the body, as while DeepSeek queues a request"),
    "echo-key": ("final", "401 whose message repeats the key that was sent"),
    "outage": ("passes", "all requests get 503, or are refused, for the span or for --outage seconds"),
    "spike": ("harmless", "200 after --spike seconds"),
}
MIXED = [kind for kind, (nature, _) in KINDS.items() if nature in ("passes", "harmless") and kind != "outage"]
"""What `--faults` mixes: a run that meets nothing else loses no game. An outage hits too many requests to be in it."""

_NUMBER = r"\d+\.?\d*|\.\d+"
_SPEC = re.compile(
    rf"(?P<kind>[^=@#]+)(?:=(?P<rate>.+)|@(?P<start>{_NUMBER})-(?P<end>{_NUMBER})|#(?P<number>\d+))", re.ASCII
)
_FORMS = "KIND=RATE, KIND@FROM-TO or KIND#N"


class Fault(NamedTuple):
    """A kind and whom it hits: a share of all requests, all of a span of seconds, or the Nth one alone."""

    kind: str
    rate: float = 0.0
    span: tuple[float, float] | None = None
    number: int | None = None


def fault_of(text: str) -> Fault:
    """A fault as written on the command line. Raises ValueError with what is wrong."""
    match = _SPEC.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is none of {_FORMS}")
    kind = match["kind"]
    if kind not in KINDS:
        raise ValueError(f"there is no fault {kind!r}; there are {', '.join(KINDS)}")
    if match["rate"]:
        return Fault(kind, rate=rate_of(match["rate"]))
    if match["number"]:
        if (number := int(match["number"])) < 1:
            raise ValueError(f"{text}: the first request is number 1")
        return Fault(kind, number=number)
    start, end = float(match["start"]), float(match["end"])
    if start >= end:
        raise ValueError(f"{text}: a span ends after it starts, in seconds since the server started")
    return Fault(kind, span=(start, end))


def rate_of(text: str) -> float:
    """A share from 0 to 1. Raises ValueError."""
    if not re.fullmatch(_NUMBER, text) or float(text) > 1:
        raise ValueError(f"{text} is not a rate from 0 to 1")
    return float(text)


def mixed(rate: float) -> list[Fault]:
    """All faults that cost no game, together at this rate."""
    return [Fault(kind, rate=rate / len(MIXED)) for kind in MIXED] if rate else []


class Hit(NamedTuple):
    kind: str
    """What is counted."""
    manner: str
    """The kind by which it is delivered: an outage is a 503 or a reset."""


class _Outage(NamedTuple):
    kind: str
    start: float
    end: float
    shut: bool
    """Does nobody listen meanwhile?"""


@dataclass
class Faults:
    """Which requests and connections are hit. Raises ValueError where the rates come to more than 1."""

    faults: Iterable[Fault] = ()
    seed: int = 0
    outage: float = 5.0
    """Seconds that an outage lasts which is no span."""
    rates: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._numbered, self._spans, self._outages = dict[tuple[str, int], Fault](), list[Fault](), list[_Outage]()
        self._attempts: Counter[bytes] = Counter()
        self._requests = self._connections = 0
        for fault in self.faults:
            if fault.number is not None:
                self._numbered["door" if fault.kind == "refused" else "request", fault.number] = fault
            elif fault.span is None:
                self.rates[fault.kind] = self.rates.get(fault.kind, 0.0) + fault.rate
            elif fault.kind in ("refused", "outage"):
                shut = fault.kind == "refused" or chance(self.seed, "outage", fault.span[0]) < 0.5
                self._outages.append(_Outage(fault.kind, *fault.span, shut))
            else:
                self._spans.append(fault)
        if (together := sum(self.rates.values())) > 1 + 1e-9:
            raise ValueError(f"the rates come to {together:g}, which is more than 1")
        self._by_request = {kind: rate for kind, rate in self.rates.items() if kind != "refused"}

    @property
    def may_refuse(self) -> bool:
        """Can there be a time when nobody listens?"""
        numbered = any(fault.kind == "outage" for fault in self._numbered.values())
        return bool(self._outages or self.rates.get("outage") or numbered)

    def for_request(self, request_id: str, raw: bytes, now: float) -> Hit | None:
        """What hits the next request, or None. The schedule comes before the rates."""
        self._requests += 1
        digest = hashlib.blake2b(request_id.encode("utf-8", "replace") + b"\0" + raw, digest_size=16).digest()
        self._attempts[digest] += 1
        if outage := self._outage(now):
            return Hit(outage.kind, "reset" if outage.shut else "503")
        kind = next((fault.kind for fault in self._spans if fault.span and fault.span[0] <= now < fault.span[1]), None)
        if numbered := self._numbered.get(("request", self._requests)):
            kind = numbered.kind
        kind = kind or pick(self._by_request, chance(self.seed, digest.hex(), self._attempts[digest]))
        if kind == "outage":
            shut = chance(self.seed, "outage", digest.hex()) < 0.5
            self._outages.append(_Outage(kind, now, now + self.outage, shut))
            return Hit(kind, "reset" if shut else "503")
        return Hit(kind, kind) if kind else None

    def for_connection(self) -> bool:
        """Is the next connection closed when it is accepted?"""
        self._connections += 1
        by_rate = chance(self.seed, "connection", self._connections) < self.rates.get("refused", 0.0)
        return by_rate or ("door", self._connections) in self._numbered

    def shut(self, now: float) -> bool:
        """Is this a time when nobody listens?"""
        outage = self._outage(now)
        return outage is not None and outage.shut

    def _outage(self, now: float) -> _Outage | None:
        return next((outage for outage in self._outages if outage.start <= now < outage.end), None)


def chance(*names: object) -> float:
    """A number from 0 to 1, evenly spread over all names and the same for the same ones."""
    digest = hashlib.blake2b(json.dumps([str(name) for name in names]).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def pick(rates: Mapping[str, float], at: float) -> str | None:
    """The kind at this place of a line on which every kind lies as long as its rate; None behind the last one."""
    for kind, rate in rates.items():
        if at < rate:
            return kind
        at -= rate
    return None
