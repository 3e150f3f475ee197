"""What a flespi batch of 1,000 messages costs the ingress, against a batch of one: it must not read what it only passes on."""

from typing import Any

from benchmarks.ingress import measure, request, serving

MESSAGES = 1000
LIMIT = 30.0
CONNECTIONS = 4
ROUNDS = 3


def run() -> dict[str, Any]:
    """Measure the CPU time of both in turn, three times; the round with the lowest ratio counts."""
    with serving() as (settings, child, secret):
        port, one, many = settings.ingress_port, request(secret), request(secret, MESSAGES)
        rounds = []
        for _ in range(ROUNDS):
            single = measure(child, port, one)["per_cpu_second"]
            batch = measure(child, port, many, connections=CONNECTIONS)["per_cpu_second"]
            rounds.append((single / batch, single, batch))
    ratio, single, batch = min(rounds)
    return {
        "name": "batch",
        "value": ratio,
        "unit": f"times the CPU of one message, for {MESSAGES} messages in {len(many) // 1000} kB",
        "limit": LIMIT,
        "ratio": ratio / LIMIT,
        "peers": {},
        "ratios_of_all_rounds": [round(each[0], 1) for each in rounds],
        "single_us": 1e6 / single,
        "batch_us": 1e6 / batch,
    }
