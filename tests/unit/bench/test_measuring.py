from bench.machine import CoreTimes
from bench.measuring import Times


def test_the_noise_is_a_part_of_the_time_that_the_measurement_took_on_all_its_cores() -> None:
    before = Times(clock=50, cpu=3, of_server=CoreTimes(0, 0), of_load=CoreTimes(0, 0))
    after = Times(clock=60, cpu=18, of_server=CoreTimes(20, 2), of_load=CoreTimes(8, 1))

    noise = (after - before).noise(server_cores=2, load_cpu_seconds=7, calibration=20)

    assert noise.others_percent == 25  # 5 of 20 seconds
    assert noise.stolen_percent == 10  # 3 of 30
    assert noise.load_percent == 70
