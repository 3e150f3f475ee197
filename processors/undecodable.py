"""Records on our own topics that are none of ours: kept in quarantine, so that a stage never stops at a foreign byte."""

from collections.abc import Callable
from typing import Any

from processors.output import Output
from schemas import topics as names
from schemas.topics import Topics


class Decoder:
    """Decodes Kafka records for one stage; what cannot be decoded goes to quarantine and reads as None."""

    def __init__(self, stage: str, read: Callable[[bytes], Any], topics: Topics, output: Output) -> None:
        self._stage = stage.encode()
        self._read = read
        self._topic = topics.quarantine
        self._produce = output.produce

    def __call__(self, raw: Any) -> Any:
        """Return the decoded record, or None."""
        try:
            return self._read(raw.value or b"")
        except Exception as error:  # noqa: BLE001  whatever a foreign byte makes the decoder raise
            headers = [
                *(raw.headers or ()),
                (names.QUARANTINE_REASON, b"undecodable_record"),
                (names.QUARANTINE_DETAIL, f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace")),
                (names.QUARANTINE_STAGE, self._stage),
                (names.QUARANTINE_INDEX, b"-1"),
                (names.ORIGIN_TOPIC, raw.topic.encode()),
                (names.ORIGIN_PARTITION, b"%d" % raw.partition),
                (names.ORIGIN_OFFSET, b"%d" % raw.offset),
            ]
            self._produce(self._topic, self._stage, raw.value or b"", headers)
            return None
