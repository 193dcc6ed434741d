from .budget import Budget as Budget
from .budget import BudgetSpent as BudgetSpent
from .budget import parse_budget as parse_budget
from .ledger import Ledger as Ledger
from .ledger import Spent as Spent
