from .endpoint import is_loopback as is_loopback
from .engines import follow as follow
from .engines import open_server as open_server
from .engines import stop_servers as stop_servers
from .server import Server as Server
from .server import ask as ask
from .server import served_models as served_models
from .server_specs import ServerSpec as ServerSpec
