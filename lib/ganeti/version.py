"""Version numbers; they change with releases only."""

RELEASE = "4.0.0"
VCS_VERSION = "v4.0.0"

CONFIG_VERSION = 3_000_000
"""Version of `config.data` and of the protocol between nodes: major * 1000000 + minor * 10000."""

READABLE_CONFIG_VERSIONS = (3_000_000, 3_010_000)
"""A configuration of these versions opens as it is and keeps its number."""

OS_API_VERSIONS = (10, 15, 20)
EXPORT_VERSION = 0
RAPI_VERSION = 2
