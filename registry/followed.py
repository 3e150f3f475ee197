"""The registry topic through a follower's eyes, for a store in a process that follows the registry anyway."""

import time
from typing import TYPE_CHECKING

from registry.topic import Rewound, TopicReader

if TYPE_CHECKING:
    from fleetline.settings import Settings
    from registry.follower import RegistryFollower

_STEP_S = 0.01
_ANSWER_S = 5.0


class FollowedReader(TopicReader):
    """Reads nothing itself: it knows where the topic ends and waits until the follower's view has come so far.

    A million devices are some 600 MB and ten seconds to read; here they cost nothing a second time. Same promises as
    TopicReader: after `read_to_end` the view shows everything that was committed before the call.
    """

    def __init__(self, settings: "Settings", follower: "RegistryFollower") -> None:
        super().__init__(settings, follower.view)
        self._follower = follower

    def open(self, timeout: float) -> bool:
        """Tell whether the topic exists."""
        return self._described(self._ask(timeout)) is not None

    @property
    def position(self) -> int:
        """How far the follower is."""
        return self._follower.position

    def step(self, timeout: float) -> int:
        """Give the follower time. Always 0: nothing is applied here."""
        time.sleep(min(timeout, _STEP_S))
        return 0

    def read_to_end(self, timeout: float) -> bool:
        """Wait for the follower to reach the present end; False when that takes longer than `timeout` seconds.

        Raises Rewound while it follows a topic that is no more, KafkaException when no broker answers.
        """
        from confluent_kafka import TopicPartition

        deadline = time.monotonic() + timeout
        described = self._described(self._ask(min(timeout, _ANSWER_S)))
        if described is None or (self._follower.log_id and str(described.topic_id) != self._follower.log_id):
            raise Rewound("the topic was recreated, and the follower has not noticed yet")
        for partition in described.partitions:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition.id), _ANSWER_S)
            while self.position < end:
                if time.monotonic() > deadline or not self._follower.alive:
                    self.broker_error = "the follower of the registry does not get to its end"
                    return False
                time.sleep(_STEP_S)
        return True
