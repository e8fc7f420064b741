"""A scenario on a server: from its file to what became of it."""

import time
from typing import Any

import numpy as np

from load.bodies import Bodies, make_bodies, needs_metadata
from load.fleet import send
from load.job import Job
from load.outcome import Outcome, bad_bodies
from load.plan import Timetable, choose_bodies, draw
from load.progress import Watcher
from load.scenario import Scenario
from load.scrape import Scraper
from load.served import account
from steelyard.cli.server import Reached, Way
from steelyard.client import Client

METADATA_TIMEOUT_S = 30.0


def measure(
    scenario: Scenario, server: Reached, way: Way, http_address: str | None, watcher: Watcher | None = None
) -> dict[str, Any]:
    """Sends the load and gives what became of it; without `http_address`, without the server's own account.

    Raises ConfigError where the scenario and the server's models do not fit, Unavailable where it cannot be reached.
    """
    random = np.random.default_rng(scenario.seed)
    table = draw(scenario, random)
    bodies = bodies_for(scenario, server, random, table.replayed())
    chosen = choose_bodies(scenario, table, bodies, random)
    jobs = jobs_of(scenario, table, bodies, chosen, server.address, way)
    models = [request.model for request in scenario.request]
    scraper = Scraper(http_address, scenario.scrape_interval_s, models) if http_address is not None else None
    if watcher is not None:
        watcher.planned(len(table.due_s))
    began_unix_s = time.time()
    sent = send(jobs, scraper.start if scraper else None, watcher.glimpsed if watcher else None)
    found = Outcome(scenario, table, sent, bad_bodies(bodies, chosen)).document()
    found["began_unix_s"] = began_unix_s
    found["address"] = server.address
    found["server"] = None
    if scraper is not None:
        found["server"] = {**account(scraper.stop(), sent.start_ns), "missed_readings": scraper.missed}
    return found


def bodies_for(
    scenario: Scenario,
    server: Reached,
    random: np.random.Generator,
    replayed: dict[int, set[int]],
) -> Bodies:
    """The bodies of the scenario's requests, made for what the server says of its models."""
    with Client(server.address, timeout_s=METADATA_TIMEOUT_S, tls=server.tls) as client:
        models = {
            (model, version): client.metadata(model, version)
            for model, version in sorted(needs_metadata(scenario.request))
        }
    return make_bodies(scenario.request, models, random, replayed)


def jobs_of(
    scenario: Scenario, table: Timetable, bodies: Bodies, chosen: Any, address: str, way: Way
) -> list[Job]:
    """The load in as many parts as the scenario has processes: each takes its turn, so that all see every phase."""
    timeout_ns = int(scenario.timeout_s * 1e9)
    deadlines = [request.deadline_ms for request in scenario.request]
    told = np.array([deadline is not None for deadline in deadlines])[table.request]
    given_ns = np.array([timeout_ns if d is None else int(d * 1e6) for d in deadlines], np.int64)[
        table.request
    ]
    due_ns = np.rint(table.due_s * 1e9).astype(np.int64)
    good = [places[0] for places in bodies.good_of]
    parts = [slice(place, None, scenario.processes) for place in range(scenario.processes)]
    return [
        Job(
            address,
            way,
            scenario.connections,
            max(1, scenario.max_in_flight // scenario.processes),
            bodies.content,
            [good[turn % len(good)] for turn in range(scenario.warm_up)],
            due_ns[own],
            chosen[own],
            given_ns[own],
            told[own],
        )
        for own in parts
    ]
