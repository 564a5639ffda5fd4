"""Counting changes has no effect on results: all other writes of every golden case are the same with causes off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shadowdiff.compare import Limits
from shadowdiff.config import Config, TargetConfig
from shadowdiff.demo.memory_store import memory_client
from shadowdiff.model import Candidate, Target
from shadowdiff.pairing.claim import Claim
from shadowdiff.pairing.codec import Codec
from shadowdiff.report import Redactor
from shadowdiff.service.comparison_pipeline import ComparisonPipeline
from shadowdiff.store import Store
from shadowdiff.worker.judge import Judgement
from tests.golden import cases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.model import Write

AT_MS = 1_772_000_000_000


async def _pipeline(*, causes: bool) -> ComparisonPipeline:
    target = Target(name="shop", hosts=("shop",), candidate=Candidate(url="http://v2"), causes=causes)

    async def ledger(_: str) -> Mapping[str, int]:
        return {}

    pipeline = ComparisonPipeline(
        Config(source=None, targets=(TargetConfig(target=target, rules=()),)),
        Store(memory_client()),
        Codec(None, 1 << 20),
        Limits(),
        redactor=Redactor(b"a key"),
        ledger=ledger,
        made_rules=lambda _: (),
        pair_notes=lambda _pair, _comparison, _at_ms: (),
    )
    await pipeline.runs.refresh()
    return pipeline


def _writes(pipeline: ComparisonPipeline, case: cases.Case, number: int) -> list[Write]:
    """Return the writes of a case, with its responses after the start of the run."""
    later = msgspec.structs.replace(case.pair.candidate, at_ms=1 << 42)
    pair = msgspec.structs.replace(case.pair, target="shop", candidate=later)
    claim = Claim(0, "shop", b"%d-0" % number, b"k", b"", b"", None, 0.0)
    judged, _ = pipeline.judge.judged(Judgement(claim, pair, case.compare()), AT_MS)
    return list(judged.writes)


async def test_every_case_has_the_same_other_writes_without_causes() -> None:
    """The verdict, every count, fingerprint and sample is identical."""
    on, off = await _pipeline(causes=True), await _pipeline(causes=False)
    counted = 0
    for number, name in enumerate(cases.names()):
        case = cases.load(name)
        found = _writes(on, case, number)
        others = [write for write in found if not write.key.startswith(("causes:", "attributes:"))]
        assert _writes(off, case, number) == others, name
        counted += len(found) > len(others)
    assert counted > 50
