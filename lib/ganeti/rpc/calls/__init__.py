"""The call table: every call that a node answers, a module per object.

Names, order of arguments and time limits are those of facts/node-rpc.json. A call has no body
here; the function of the same name under `node/` serves it. All are read as `calls.NAME`.
"""

from ganeti.rpc.calls.disk import *
from ganeti.rpc.calls.drbd import *
from ganeti.rpc.calls.file import *
from ganeti.rpc.calls.guest_os import *
from ganeti.rpc.calls.impexp import *
from ganeti.rpc.calls.instance import *
from ganeti.rpc.calls.job_file import *
from ganeti.rpc.calls.journal import *
from ganeti.rpc.calls.master import *
from ganeti.rpc.calls.node import *
from ganeti.rpc.calls.program import *
from ganeti.rpc.calls.shapes import *
from ganeti.rpc.calls.ssh_keys import *
from ganeti.rpc.calls.volume import *
