"""Every request has its own deadline, though one timer serves them all."""

import asyncio

import pytest

from sdg_helpers.completions.deadlines import Deadlines


def run(main):
    return asyncio.run(asyncio.wait_for(main, 30))


async def wait(deadlines, event):
    with deadlines.next():
        await event.wait()


def test_what_takes_too_long_ends_and_what_is_over_does_not():
    async def main():
        deadlines, never, soon = Deadlines(0.05), asyncio.Event(), asyncio.Event()
        soon.set()
        late = [asyncio.create_task(wait(deadlines, never)) for _ in range(3)]
        for _ in range(100):
            await wait(deadlines, soon)
        ended = await asyncio.gather(*late, return_exceptions=True)
        await wait(deadlines, soon)  # the last timer has fired: the next request sets another
        again = asyncio.create_task(wait(deadlines, never))
        return ended + await asyncio.gather(again, return_exceptions=True)

    assert [type(one) for one in run(main())] == [asyncio.TimeoutError] * 4


def test_the_oldest_ends_first():
    async def main():
        deadlines, never, order = Deadlines(0.05), asyncio.Event(), []

        async def one(name):
            try:
                await wait(deadlines, never)
            except asyncio.TimeoutError:
                order.append(name)

        tasks = [asyncio.create_task(one(0))]
        await asyncio.sleep(0.02)
        tasks.append(asyncio.create_task(one(1)))
        await asyncio.gather(*tasks)
        return order

    assert run(main()) == [0, 1]


def test_without_a_limit_nothing_ends():
    async def main():
        deadlines, event = Deadlines(None), asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, event.set)
        await wait(deadlines, event)

    run(main())


def test_a_task_that_others_cancel_is_cancelled():
    async def main():
        task = asyncio.create_task(wait(Deadlines(60.0), asyncio.Event()))
        await asyncio.sleep(0)
        task.cancel()
        return await asyncio.gather(task, return_exceptions=True)

    assert [type(one) for one in run(main())] == [asyncio.CancelledError]


@pytest.mark.skipif(not hasattr(asyncio.Task, "uncancel"), reason="a task counts who cancels it since Python 3.11")
def test_a_task_that_others_cancel_at_its_deadline_is_cancelled():
    async def main():
        deadlines = Deadlines(60.0)
        deadline = deadlines.next()

        async def one():
            with deadline:
                await asyncio.Event().wait()

        task = asyncio.create_task(one())
        await asyncio.sleep(0)
        deadline.expire()
        task.cancel()
        return await asyncio.gather(task, return_exceptions=True)

    assert [type(one) for one in run(main())] == [asyncio.CancelledError]
