"""What the server says of itself: metrics, statistics, logs and the ids of its decisions."""

from steelyard.observe.counting import Segment, Slot
from steelyard.observe.layout import Refusal, Stage, refusal_of

__all__ = ["Refusal", "Segment", "Slot", "Stage", "refusal_of"]
