"""The keys of a Compose file and the shapes of their values: the current Compose specification as a table.

Read by the loader (:data:`COMPOSE`, :data:`FRAGMENT`) and by nothing else. Where a scalar may be text although it means
a number or a switch, that is because a variable may stand there.
"""

from __future__ import annotations

from typing import Any

from fairlead.spec.shapes import Shape

TEXT = Shape("string")
DURATION = Shape("string", duration=True)
FLAG = Shape("boolean string")
NUMBER = Shape("number string")
INTEGER = Shape("integer string")
ANY_SCALAR = Shape("string number boolean null")
ANYTHING = Shape("string number integer boolean null list mapping")


def record(required: str = "", /, **fields: Shape) -> Shape:
    """A mapping with exactly these keys and ``x-`` ones."""
    return Shape("mapping", fields=fields, required=tuple(required.split()), extensible=True)


def closed(required: str = "", /, **fields: Shape) -> Shape:
    """A mapping with exactly these keys."""
    return Shape("mapping", fields=fields, required=tuple(required.split()))


def table(values: Shape, *, named: bool = False) -> Shape:
    """A mapping with free keys."""
    return Shape("mapping", values=values, named=named)


def many(item: Shape, *, unique: bool = False) -> Shape:
    return Shape("list", item=item, unique=unique)


def either(*shapes: Shape, **bounds: Any) -> Shape:
    """One of several shapes, told apart by the kind of the value."""
    merged = Shape(" ".join(kind for shape in shapes for kind in shape.kinds), **bounds)
    for shape in shapes:
        for slot in ("fields", "values", "item"):
            if getattr(shape, slot) is not None:
                setattr(merged, slot, getattr(shape, slot))
        for slot in ("required", "extensible", "named", "unique", "choices"):
            if getattr(shape, slot):
                setattr(merged, slot, getattr(shape, slot))
    return merged


def fields(shape: Shape, names: str) -> dict[str, Shape]:
    return dict.fromkeys(names.split(), shape)


NOTHING = Shape("null")
TEXTS = many(TEXT)
NAMES = many(TEXT, unique=True)
TEXT_OR_NAMES = either(TEXT, NAMES)
PAIRS = either(table(ANY_SCALAR), NAMES)
COMMAND = either(TEXT, TEXTS, NOTHING)
OPTIONS = table(Shape("string number"))
HOSTS = either(table(either(TEXT, TEXTS)), NAMES)
ULIMITS = table(either(INTEGER, record("soft hard", soft=INTEGER, hard=INTEGER)))
FILE_USES = many(either(TEXT, record(**fields(TEXT, "source target uid gid"), mode=NUMBER)))
ENV_FILES = either(TEXT, many(either(TEXT, closed("path", path=TEXT, format=TEXT, required=FLAG))))
EXTERNAL = either(FLAG, record(name=TEXT))
OPEN_EXTERNAL = either(FLAG, Shape("mapping", fields={"name": TEXT}, values=ANYTHING))

HOOK = record(command=COMMAND, user=TEXT, privileged=FLAG, working_dir=TEXT, environment=PAIRS)
PRE_START_HOOK = record(
    command=COMMAND, image=TEXT, user=TEXT, privileged=FLAG, working_dir=TEXT, environment=PAIRS, per_replica=FLAG
)

BUILD = record(
    **fields(TEXT, "context dockerfile dockerfile_inline network target isolation"),
    **fields(TEXTS, "entitlements cache_from cache_to tags platforms"),
    **fields(PAIRS, "args ssh labels additional_contexts"),
    **fields(FLAG, "no_cache pull privileged provenance sbom"),
    no_cache_filter=TEXT_OR_NAMES,
    shm_size=INTEGER,
    extra_hosts=HOSTS,
    secrets=FILE_USES,
    ulimits=ULIMITS,
)
_THROTTLES = many(closed(path=TEXT, rate=INTEGER))
BLKIO = closed(
    **fields(_THROTTLES, "device_read_bps device_read_iops device_write_bps device_write_iops"),
    weight=INTEGER,
    weight_device=many(closed(path=TEXT, weight=INTEGER)),
)
HEALTHCHECK = record(
    **fields(DURATION, "interval timeout start_period start_interval"),
    disable=FLAG,
    retries=NUMBER,
    test=either(TEXT, TEXTS),
)
DEVELOP = either(
    record(
        watch=many(
            record(
                "path action",
                path=TEXT,
                action=Shape("string", choices=("rebuild", "sync", "restart", "sync+restart", "sync+exec")),
                target=TEXT,
                exec=HOOK,
                ignore=TEXT_OR_NAMES,
                include=TEXT_OR_NAMES,
                initial_sync=Shape("boolean"),
            )
        )
    ),
    NOTHING,
)
_UPDATE = record(
    **fields(DURATION, "delay monitor"),
    failure_action=TEXT,
    parallelism=INTEGER,
    max_failure_ratio=NUMBER,
    order=Shape("string", choices=("start-first", "stop-first")),
)
_DEVICE_FIELDS = {
    **fields(NAMES, "capabilities device_ids"),
    "count": INTEGER,
    "driver": TEXT,
    "options": PAIRS,
}
_DISCRETE = record(kind=TEXT, value=NUMBER)
DEPLOY = either(
    record(
        mode=TEXT,
        endpoint_mode=TEXT,
        replicas=INTEGER,
        labels=PAIRS,
        update_config=_UPDATE,
        rollback_config=_UPDATE,
        resources=record(
            limits=record(cpus=NUMBER, memory=TEXT, pids=INTEGER),
            reservations=record(
                cpus=NUMBER,
                memory=TEXT,
                generic_resources=many(record(discrete_resource_spec=_DISCRETE)),
                devices=many(record("capabilities", **_DEVICE_FIELDS)),
            ),
        ),
        restart_policy=record(condition=TEXT, delay=DURATION, max_attempts=INTEGER, window=DURATION),
        placement=record(constraints=TEXTS, preferences=many(record(spread=TEXT)), max_replicas_per_node=INTEGER),
    ),
    NOTHING,
)
DEPENDS_ON = either(
    NAMES,
    table(
        record(
            "condition",
            restart=FLAG,
            required=Shape("boolean"),
            condition=Shape("string", choices=("service_started", "service_healthy", "service_completed_successfully")),
        ),
        named=True,
    ),
)
SERVICE_NETWORKS = either(
    NAMES,
    table(
        either(
            record(
                **fields(TEXT, "ipv4_address ipv6_address mac_address interface_name"),
                **fields(NAMES, "aliases link_local_ips"),
                **fields(Shape("number"), "priority gw_priority"),
                driver_opts=OPTIONS,
            ),
            NOTHING,
        ),
        named=True,
    ),
)
MOUNT = record(
    "type",
    **fields(TEXT, "source target consistency"),
    type=TEXT,
    read_only=FLAG,
    bind=record(
        propagation=TEXT,
        create_host_path=FLAG,
        recursive=Shape("string", choices=("enabled", "disabled", "writable", "readonly")),
        selinux=Shape("string", choices=("z", "Z")),
    ),
    volume=record(nocopy=FLAG, subpath=TEXT, labels=PAIRS),
    tmpfs=record(size=Shape("integer string", low=0), mode=NUMBER),
    image=record(subpath=TEXT),
)
PORT = record(
    **fields(TEXT, "name mode host_ip protocol app_protocol"), target=INTEGER, published=Shape("string integer")
)
_GPU = Shape("mapping", fields=_DEVICE_FIELDS, values=ANYTHING)

SERVICE = record(
    **fields(
        TEXT,
        "cgroup_parent container_name cpuset domainname hostname image ipc isolation mac_address network_mode "
        "platform pull_policy pull_refresh_after restart runtime stop_signal user uts userns_mode "
        "working_dir",
    ),
    stop_grace_period=DURATION,
    **fields(FLAG, "attach init oom_kill_disable privileged read_only stdin_open tty"),
    **fields(
        NUMBER,
        "cpu_shares cpu_quota cpu_period cpu_rt_period cpu_rt_runtime cpus mem_limit memswap_limit pids_limit shm_size",
    ),
    **fields(INTEGER, "mem_reservation mem_swappiness scale"),
    **fields(
        NAMES, "cap_add cap_drop device_cgroup_rules dns_opt external_links links profiles security_opt volumes_from"
    ),
    **fields(PAIRS, "annotations environment labels sysctls"),
    **fields(TEXT_OR_NAMES, "dns dns_search tmpfs"),
    **fields(COMMAND, "command entrypoint"),
    **fields(FILE_USES, "configs secrets"),
    blkio_config=BLKIO,
    build=either(TEXT, BUILD),
    cgroup=Shape("string", choices=("host", "private")),
    cpu_count=Shape("string integer", low=0),
    cpu_percent=Shape("string integer", low=0, high=100),
    credential_spec=record(config=TEXT, file=TEXT, registry=TEXT),
    depends_on=DEPENDS_ON,
    deploy=DEPLOY,
    develop=DEVELOP,
    devices=many(either(TEXT, record("source", source=TEXT, target=TEXT, permissions=TEXT))),
    env_file=ENV_FILES,
    expose=many(Shape("string number"), unique=True),
    extends=either(TEXT, closed("service", service=TEXT, file=TEXT)),
    extra_hosts=HOSTS,
    gpus=either(Shape("string", choices=("all",)), many(_GPU)),
    group_add=many(Shape("string number"), unique=True),
    healthcheck=HEALTHCHECK,
    label_file=either(TEXT, TEXTS),
    logging=record(driver=TEXT, options=table(Shape("string number null"))),
    models=either(NAMES, table(either(record(endpoint_var=TEXT, model_var=TEXT), NOTHING))),
    networks=SERVICE_NETWORKS,
    oom_score_adj=Shape("string integer", low=-1000, high=1000),
    pid=either(TEXT, NOTHING),
    ports=many(either(Shape("number string"), PORT), unique=True),
    pre_start=many(PRE_START_HOOK),
    post_start=many(HOOK),
    pre_stop=many(HOOK),
    provider=record("type", type=TEXT, options=table(either(Shape("string number boolean"), many(ANY_SCALAR)))),
    storage_opt=table(ANYTHING),
    ulimits=ULIMITS,
    use_api_socket=Shape("boolean"),
    volumes=many(either(TEXT, MOUNT), unique=True),
)

_POOL = record(subnet=TEXT, ip_range=TEXT, gateway=TEXT, aux_addresses=table(TEXT))
NETWORK = either(
    record(
        name=TEXT,
        driver=TEXT,
        driver_opts=OPTIONS,
        ipam=record(driver=TEXT, config=many(_POOL), options=table(TEXT)),
        external=EXTERNAL,
        **fields(FLAG, "internal enable_ipv4 enable_ipv6 attachable"),
        labels=PAIRS,
    ),
    NOTHING,
)
VOLUME = either(record(name=TEXT, driver=TEXT, driver_opts=OPTIONS, external=EXTERNAL, labels=PAIRS), NOTHING)
SECRET = record(
    **fields(TEXT, "name environment file driver template_driver"),
    external=OPEN_EXTERNAL,
    labels=PAIRS,
    driver_opts=OPTIONS,
)
CONFIG = record(**fields(TEXT, "name content environment file template_driver"), external=OPEN_EXTERNAL, labels=PAIRS)
MODEL = record("model", name=TEXT, model=TEXT, context_size=Shape("integer"), runtime_flags=TEXTS)
INCLUDE = many(either(TEXT, closed(path=TEXT_OR_NAMES, env_file=TEXT_OR_NAMES, project_directory=TEXT)))

COMPOSE = record(
    version=TEXT,
    name=TEXT,
    include=INCLUDE,
    services=table(SERVICE, named=True),
    networks=table(NETWORK),
    volumes=table(VOLUME, named=True),
    secrets=table(SECRET, named=True),
    configs=table(CONFIG, named=True),
    models=table(MODEL),
)
"""A whole Compose file."""
