"""The pure bookkeeping of iterations, micro-batches and the rail."""

from __future__ import annotations

from stepdbg.agent.loop import Loop, Station
from stepdbg.protocol.records import Phase


class Sites:
    """Enters and leaves phases of a Loop by name; each name is one call site."""

    def __init__(self, optimizers: tuple[int, ...] = (1,)) -> None:
        self.loop = Loop()
        self.loop.has_optimizers = bool(optimizers)
        self.optimizers = optimizers
        self.time = 0.0

    def run(self, *names: str) -> list[tuple[int, int]]:
        """ "forward", "step:2" (optimizer 2) …; returns (iteration, micro-batch) of each."""
        seen = []
        for name in names:
            phase, _, which = name.partition(":")
            self.time += 1.0
            station = self.loop.enter((0, 0, name), Phase(phase), 0, self.time)
            seen.append((self.loop.iteration, self.loop.micro_batch))
            self.loop.left(station, 0.5)
            if phase == "step":
                self.loop.stepped(int(which or 1), lambda: self.optimizers)
        return seen

    def rail(self) -> list[str]:
        return [site[2] for site, _ in self.loop.rail()]


PLAIN = ("zero_grad", "forward", "loss", "backward", "step")


def test_an_iteration_runs_from_one_optimizer_step_to_the_next() -> None:
    sites = Sites()
    assert sites.run(*PLAIN, *PLAIN, "zero_grad") == [(1, 1)] * 5 + [(2, 1)] * 5 + [(3, 1)]


def test_a_scheduler_step_belongs_to_the_iteration_before_it() -> None:
    sites = Sites()
    sites.run(*PLAIN)
    assert sites.run("scheduler", "zero_grad") == [(1, 1), (2, 1)]


def test_micro_batches_are_counted_inside_the_iteration() -> None:
    sites = Sites()
    micro = ("data", "forward", "loss", "backward")
    places = sites.run(*micro, *micro, *micro, "step", *micro)
    assert places == [(1, 1)] * 4 + [(1, 2)] * 4 + [(1, 3)] * 5 + [(2, 1)] * 4
    assert sites.rail() == ["data", "forward", "loss", "backward", "step"]


def test_two_backwards_from_different_lines_are_one_micro_batch() -> None:
    sites = Sites()
    assert sites.run("forward:real", "backward:real", "forward:fake", "backward:fake", "step") == [(1, 1)] * 5


def test_two_optimizers_make_one_iteration_when_each_steps_once() -> None:
    sites = Sites(optimizers=(1, 2))
    gan = ("forward:d", "backward:d", "step:1", "forward:g", "backward:g", "step:2")
    assert sites.run(*gan, *gan) == [(1, 1)] * 6 + [(2, 1)] * 6


def test_an_optimizer_that_steps_more_often_ends_an_iteration_each_time() -> None:
    sites = Sites(optimizers=(1, 2))
    places = sites.run("step:1", "step:1", "step:1", "step:2", "step:1")
    # The second step shows that optimizer 2 does not step each time; from there on every step counts.
    assert [iteration for iteration, _ in places] == [1, 1, 2, 3, 4]


def test_without_an_optimizer_an_iteration_ends_when_the_loop_comes_round() -> None:
    sites = Sites(optimizers=())
    assert sites.run("forward", "backward", "forward", "backward") == [(1, 1), (1, 1), (2, 1), (2, 1)]


def test_evaluation_forwards_do_not_end_anything() -> None:
    sites = Sites()
    sites.run(*PLAIN)
    assert sites.run("forward:eval", "forward:eval", "forward:eval") == [(2, 1)] * 3


def test_the_rail_keeps_the_loops_order_and_forgets_sites_that_are_gone() -> None:
    sites = Sites()
    sites.run("data", *PLAIN)
    assert sites.rail() == ["data", *PLAIN]
    sites.run("data", "zero_grad", "forward:eval", "forward", "loss", "backward", "step")
    assert sites.rail() == ["data", "zero_grad", "forward:eval", "forward", "loss", "backward", "step"]
    sites.run("data", *PLAIN)
    sites.run("data", *PLAIN)
    assert sites.rail() == ["data", *PLAIN]


def test_a_station_counts_and_times_its_runs_of_this_iteration() -> None:
    sites = Sites()
    sites.run("forward", "backward", "forward", "backward", "step")
    stations: dict[str, Station] = {site[2]: station for site, station in sites.loop.rail()}
    assert (stations["forward"].count, stations["forward"].seconds) == (2, 1.0)
    sites.run("forward")
    assert stations["forward"].count == 1


def test_backwards_are_counted_until_gradients_are_cleared() -> None:
    sites = Sites()
    sites.run(*PLAIN, "forward", "loss", "backward")
    assert sites.loop.backwards == 2
    sites.loop.cleared()
    assert sites.loop.backwards == 0


def test_the_rate_is_iterations_over_run_time() -> None:
    sites = Sites()
    sites.run(*PLAIN)
    assert sites.loop.rate() is None
    sites.run(*PLAIN * 3, "zero_grad")
    assert sites.loop.rate() == 1 / 5  # five phases of one second each


def test_gradients_that_were_there_before_us_are_of_an_unknown_number_of_backwards() -> None:
    loop = Loop()
    loop.came_late = True
    loop.ran_backward()
    assert (loop.backwards, loop.known_backwards) == (1, None)
    loop.cleared()
    loop.ran_backward()
    assert loop.known_backwards == 1
