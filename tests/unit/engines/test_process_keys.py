"""The table answers for every service key of the Compose specification."""

from __future__ import annotations

from fairlead.capabilities import Support
from fairlead.engines.process.keys import capabilities

SERVICE_KEYS = """
annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count
cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on deploy
develop device_cgroup_rules devices dns dns_opt dns_search domainname driver_opts entrypoint env_file environment expose
extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links
logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode networks
oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_stop privileged profiles provider
pull_policy pull_refresh_after read_only restart runtime scale secrets security_opt shm_size stdin_open
stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes
volumes_from working_dir
"""


def test_every_key_is_answered_with_a_reason_where_it_is_not_honoured() -> None:
    table = capabilities({}, root=False)
    for key in SERVICE_KEYS.split():
        assert key in table.keys, key
        treatment = table.treatment(key)
        assert treatment.support is Support.HONOURED or treatment.reason, key


def test_who_runs_fairlead_makes_the_difference() -> None:
    root, other = capabilities({}, root=True), capabilities({}, root=False)
    assert root.treatment("user").support is Support.HONOURED
    assert other.treatment("user").support is Support.IGNORED
    assert root.treatment("cap_drop").support is Support.REFUSED
    assert other.treatment("cap_drop").support is Support.HONOURED


def test_a_missing_controller_is_a_notice() -> None:
    table = capabilities({"memory": "not delegated"}, root=False)
    assert table.notices == ("no memory limits: not delegated",)
    assert not table.limits_memory
    assert table.limits_cpu
    assert table.treatment("mem_limit").support is Support.IGNORED
