"""Users of Locust who ask by gRPC: `python -m locust -f load/locustfile.py --scenario FILE --host HOST:PORT`.

A closed loop, unlike everything else here: a user asks again when it was answered, so a slow server is asked less.
"""

import functools
import random
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from locust import User, events, task
from locust.env import Environment
from locust.exception import StopUser

from load.bodies import Bodies
from load.connection import METHOD
from load.measure import bodies_for
from load.scenario import Scenario, read_scenario
from steelyard.cli.server import Reached
from steelyard.client.backoff import Backoff
from steelyard.client.blocking_channel import BlockingChannel
from steelyard.client.failures import CallFailed
from steelyard.client.target import parse_target
from steelyard.client.wiring import Wiring
from steelyard.errors import ConfigError, SteelyardError
from steelyard.rpc.limits import Limits


@events.init_command_line_parser.add_listener
def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--scenario",
        default="load/scenarios/example.toml",
        help="Whose requests are sent, without its phases.",
    )
    parser.add_argument(
        "--pause", type=float, default=0.0, help="Seconds from an answer to the user's next request."
    )


@events.init.add_listener
def _prepare(environment: Environment, **_: Any) -> None:
    """Makes the requests before the time of the test runs; what is wrong is said once, and not by each user."""
    if environment.host and environment.parsed_options:
        try:
            _mix(environment.parsed_options.scenario, environment.host)
        except SteelyardError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(2)


class Mix:
    """The requests of a scenario."""

    def __init__(self, scenario: Scenario, bodies: Bodies) -> None:
        self._scenario = scenario
        self._bodies = bodies
        self._shares = [request.share for request in scenario.request]

    def draw(self) -> tuple[str, bytes, float, bool]:
        """Name, body, seconds that its answer may take, and whether it is sent bad."""
        (kind,) = random.choices(range(len(self._shares)), self._shares)
        request = self._scenario.request[kind]
        bad = random.random() < request.bad_share
        place = random.choice((self._bodies.bad_of if bad else self._bodies.good_of)[kind])
        timeout_s = request.deadline_ms / 1e3 if request.deadline_ms else self._scenario.timeout_s
        return request.name, self._bodies.content[place], timeout_s, bad


@functools.cache
def _mix(scenario: str, host: str) -> Mix:
    wanted = read_scenario(Path(scenario))
    return Mix(wanted, bodies_for(wanted, Reached(host, None), np.random.default_rng(wanted.seed), {}))


class Caller(User):
    """One user, with a connection of its own."""

    host: ClassVar[str] = "127.0.0.1:8001"

    def on_start(self) -> None:
        """Connects with the first request."""
        options: Any = self.environment.parsed_options
        address = self.environment.host or self.host
        try:
            self._mix = _mix(options.scenario, address)
            target = parse_target(address)
        except SteelyardError:
            raise StopUser from None
        self._pause_s = options.pause
        self._channel = BlockingChannel(target, Wiring(Limits()), None, Backoff(random.random))

    def on_stop(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def wait_time(self) -> float:
        """Seconds until the next request."""
        return float(self._pause_s)

    @task
    def infer(self) -> None:
        """One request of the scenario's mix; what was sent bad is well answered when it is refused."""
        name, body, timeout_s, bad = self._mix.draw()
        began_s = time.perf_counter()
        answer = b""
        problem: Exception | None = None
        try:
            answer = self._channel.unary(METHOD, body, timeout_s)
            if bad:
                problem = ConfigError("a request that was sent bad was answered as if it were not")
        except CallFailed as failed:
            problem = None if bad else failed
        self.environment.events.request.fire(
            request_type="gRPC",
            name=f"{name}, sent bad" if bad else name,
            response_time=(time.perf_counter() - began_s) * 1e3,
            response_length=len(answer),
            exception=problem,
            context={},
        )
