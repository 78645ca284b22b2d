from pathlib import Path

import pytest

from bench.launch import Ask, Launch
from bench.machine import CoreTimes
from bench.measuring import Times, judge
from bench.verification import BadAnswerError


def test_the_noise_is_a_part_of_the_time_that_the_measurement_took_on_all_its_cores() -> None:
    before = Times(clock=50, cpu=3, of_server=CoreTimes(0, 0), of_load=CoreTimes(0, 0))
    after = Times(clock=60, cpu=18, of_server=CoreTimes(20, 2), of_load=CoreTimes(8, 1))

    noise = (after - before).noise(server_cores=2, load_cpu_seconds=7, calibration=20)

    assert noise.others_percent == 25  # 5 of 20 seconds
    assert noise.stolen_percent == 10  # 3 of 30
    assert noise.load_percent == 70


def test_an_answer_that_was_not_kept_cannot_be_judged(tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    answers.write_text("200 2\nok\n200 2\nok\n")
    ask = Ask("hello", "/hello")
    launch = Launch((), tmp_path, 0, (ask,))

    judge(launch, ask, answers, at_least=2)
    with pytest.raises(BadAnswerError, match="2 answers were kept to be judged, of 3 or more"):
        judge(launch, ask, answers, at_least=3)
