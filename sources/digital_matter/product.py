"""What both dialects say about the device and why it reported."""

from typing import Any

from sources.contract import Reading
from sources.digital_matter.tables import PRODUCTS, REASONS


def add_product(reading: Reading, product: Any, firmware: Any) -> None:
    """Name the product, where its number has a known name, and the firmware."""
    if isinstance(product, int) and product in PRODUCTS:
        reading.texts["device.product"] = PRODUCTS[product]
    if firmware not in (None, "") and isinstance(firmware, (str, int, float)):
        reading.texts["firmware.version"] = str(firmware)


def add_reason(reading: Reading, reason: Any) -> None:
    """Name the reason, where its code is known; the code itself is kept by the caller."""
    if isinstance(reason, int) and not isinstance(reason, bool) and reason in REASONS:
        reading.texts["reason"] = REASONS[reason]
