"""Where a program is: roles of loops, epochs and steps, and the ordinals of repeated values."""

from __future__ import annotations

import sys
import threading

from flor_ray.recording.context import Context, Role
from flor_ray.records import Level


def test_the_outermost_loop_is_the_main_one_and_those_inside_are_nested_and_deeper() -> None:
    context = Context()
    assert [context.enter() for _ in range(4)] == [Role.MAIN, Role.NESTED, Role.DEEPER, Role.DEEPER]
    for role in (Role.DEEPER, Role.DEEPER, Role.NESTED, Role.MAIN):
        context.leave(role)
    assert [context.enter(), context.enter()] == [Role.OUTSIDE, Role.OUTSIDE]


def test_loops_before_an_expected_call_of_checkpointing_are_not_the_main_one() -> None:
    context = Context(waits=True)
    assert context.enter() is Role.OUTSIDE
    context.leave(Role.OUTSIDE)
    context.waits = False
    assert context.enter() is Role.MAIN


def test_leaving_a_loop_leaves_what_is_still_open_in_it() -> None:
    context = Context()
    context.enter()
    context.begin_epoch(1)
    context.enter()
    context.step = 3
    context.enter()
    context.leave(Role.NESTED)
    state: list[object] = [context.stack, context.step, context.epoch]
    assert state == [[Role.MAIN], None, 1]
    context.enter()
    context.leave(Role.MAIN)
    assert (context.stack, context.epoch) == ([], None)


def test_repeated_values_of_a_name_are_counted_per_epoch_and_step() -> None:
    context = Context()
    keys = [context.key("x"), context.key("x"), context.key("y")]
    context.enter()
    for epoch in (1, 2):
        context.begin_epoch(epoch)
        keys += [context.key("x"), context.key("x")]
        for _ in range(2):
            context.enter()
            for step in (0, 1):
                context.step = step
                keys.append(context.key("x"))
            context.leave(Role.NESTED)
    context.leave(Role.MAIN)
    keys.append(context.key("x"))
    assert keys == [
        (Level.DATA_PREP, None, None, 0),
        (Level.DATA_PREP, None, None, 1),
        (Level.DATA_PREP, None, None, 0),
        *(
            key
            for epoch in (1, 2)
            for key in (
                (Level.OUTER, epoch, None, 0),
                (Level.OUTER, epoch, None, 1),
                (Level.INNER, epoch, 0, 0),
                (Level.INNER, epoch, 1, 0),
                (Level.INNER, epoch, 0, 1),  # the second nested loop of the epoch
                (Level.INNER, epoch, 1, 1),
            )
        ),
        (Level.DATA_PREP, None, None, 2),
    ]


def test_nested_loops_are_counted_anew_in_each_epoch() -> None:
    context = Context()
    context.enter()
    for epoch in (1, 2):
        context.begin_epoch(epoch)
        context.enter()
        assert context.nested_in_epoch == 1
        context.leave(Role.NESTED)


def test_keys_are_given_out_once_though_threads_log_while_epochs_begin() -> None:
    context = Context()
    context.enter()
    context.enter()
    keys: list[list[tuple[object, ...]]] = [[] for _ in range(8)]

    def log(mine: list[tuple[object, ...]]) -> None:
        for _ in range(8000):
            mine.append(context.key("x"))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=log, args=[mine]) for mine in keys]
        for thread in threads:
            thread.start()
        epoch = 0
        while any(thread.is_alive() for thread in threads):
            epoch += 1
            context.begin_epoch(epoch)
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    given = [key for mine in keys for key in mine]
    assert len(given) == len(set(given)) == 64_000


def test_the_loops_of_another_thread_do_not_say_where_the_program_is() -> None:
    context = Context()
    context.enter()
    context.begin_epoch(1)
    found: list[Role] = []

    def loops() -> None:
        found.extend((context.enter(), context.enter_iteration("step")))
        for role in found:
            context.leave(role)

    thread = threading.Thread(target=loops)
    thread.start()
    thread.join()
    assert (found, context.stack, context.epoch) == ([Role.ELSEWHERE, Role.ELSEWHERE], [Role.MAIN], 1)


def test_the_steps_of_an_epoch_are_those_of_its_longest_nested_loop() -> None:
    context = Context()
    context.enter()
    for epoch, loops in ((1, [3, 5, 2]), (2, []), (3, [1])):
        context.begin_epoch(epoch)
        for steps in loops:
            role = context.enter()
            for step in range(steps):
                context.begin_step(step)
            context.leave(role)
        assert context.steps == max(loops, default=0)


def test_the_steps_of_loops_that_are_written_as_iterations_are_counted_too() -> None:
    context = Context()
    for steps in (2, 0, 4):
        epoch = context.enter_iteration("epoch")
        for _ in range(steps):
            context.leave(context.enter_iteration("step"))
        context.leave(epoch)
        assert context.steps == steps
