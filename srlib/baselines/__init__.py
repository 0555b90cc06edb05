"""The networks that the papers compare with, one to a file."""

from srlib.baselines.aplus import APlus
from srlib.baselines.cdc import CDC
from srlib.baselines.drcn import DRCN
from srlib.baselines.drrn import DRRN
from srlib.baselines.edsr import EDSR
from srlib.baselines.espcn import ESPCN
from srlib.baselines.fsrcnn import FSRCNN
from srlib.baselines.idn import IDN
from srlib.baselines.imdn import IMDN
from srlib.baselines.kpn import KPN, LPKPN
from srlib.baselines.lapsrn import LapSRN
from srlib.baselines.memnet import MemNet
from srlib.baselines.rcan import RCAN
from srlib.baselines.rdn import RDN
from srlib.baselines.rfl import RFL
from srlib.baselines.rrdbnet import RRDBNet
from srlib.baselines.srcnn import SRCNN
from srlib.baselines.srresnet import SRResNet
from srlib.baselines.vdsr import VDSR
from srlib.nn.bicubic import Bicubic
from srlib.nn.models import PAIRS, POWERS, SAME_SIZE, SCALES, register

register("bicubic", Bicubic, tuple(sorted({1, 3, *POWERS})))
register("aplus", APlus, SCALES)
register("rfl", RFL, SCALES)
register("srcnn", SRCNN, SCALES)
register("fsrcnn", FSRCNN, SCALES)
register("espcn", ESPCN, SCALES)
register("vdsr", VDSR, PAIRS)
register("drcn", DRCN, SCALES)
register("drrn", DRRN, SCALES)
register("srresnet", SRResNet, PAIRS)
register("edsr", EDSR, PAIRS)
register("rcan", RCAN, PAIRS)
register("rdn", RDN, PAIRS)
register("rrdbnet", RRDBNet, PAIRS)
register("imdn", IMDN, PAIRS)
register("cdc", CDC, PAIRS)
register("memnet", MemNet, SCALES)
register("idn", IDN, SCALES)
register("lapsrn", LapSRN, POWERS)
register("kpn", KPN, SAME_SIZE)
register("lp_kpn", LPKPN, SAME_SIZE)
