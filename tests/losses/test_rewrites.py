"""What is proposed for a text that cannot be read, text by text, from the mildest change to the boldest."""

from __future__ import annotations

from gpo_analysis.losses.rewrites import proposals, strangers

PROPOSED = {
    "log(1+exp(-x))": ["log(1+exp(-z))"],
    "c*exp(-z)": ["c*exp(-z) with c=1"],
    "exp(-z": ["exp(-z)"],
    "exp(-z))": ["exp(-z)"],
    "((((z": [],
    "(((z": ["(((z)))"],
    ")z": [")*z"],
    "z)))": ["z"],
    "z))))": [],
    "log(1+exp(-z)).mean()": ["log(1+exp(-z))"],
    "z.sum()": ["z"],
    "z.item( )": ["z"],
    "z.max()": [],
    "beta*z": ["beta*z with beta=1", "z"],
    "z*beta": ["z*beta with beta=1", "z"],
    "self.beta*z": ["self.beta*z with self=1", "z"],
    "exp(-beta*(h_w-h_l))": ["exp(-(h_w-h_l))"],
    "beta*(chosen - rejected)": ["(chosen - rejected)"],
    "beta*beta": ["z"],
    "beta*log(z)": ["beta*log(z) with beta=1", "c*log(z)", "c*log(z) with c=1"],
    "self.beta*self.margin": ["z"],
    "[1-z]**2": ["(1-z)**2"],
    "{z}": ["(z)"],
    "[a,b]": [],
    "√z": ["sqrt(z)"],
    "√ 2": ["sqrt(2)"],
    "log z": ["log(z)"],
    "exp -z": ["exp(-z)"],
    "sigmoid -z + log exp(z)": ["sigmoid(-z) + log(exp(z))"],
    "max z": ["max(z)"],
    "(1-z)(1-z)": ["(1-z)*(1-z)"],
    "z exp(-z)": ["z*exp(-z)"],
    "cz": ["c*z", "c*z with c=1"],
    "z(1-z)": ["z*(1-z)"],
    "2(z)": ["2*(z)"],
    "exp(-cz)": ["exp(-c*z)", "exp(-c*z) with c=1"],
    "ca+db": ["c*a+d*b", "c*a+d*b with c=1, d=1"],
    "x*exp(-y)": [],
    "x*y": [],
    "t*exp(-k)": ["z*exp(-k)", "z*exp(-k) with k=1"],
    "foo": [],
    "logits": [],
    "a*exp(-z)": ["c*exp(-z)", "c*exp(-z) with c=1"],
    "b*z": ["c*z", "c*z with c=1"],
    "a*b*z+c": ["a*b*z+c with c=1", "k*d*z+c", "k*d*z+c with k=1, d=1, c=1"],
    "(z-1/(2*beta))**2": ["(z-1/(2*beta))**2 with beta=1", "(z-1/(2*c))**2", "(z-1/(2*c))**2 with c=1"],
    "a*z*c*k*d*s": ["a*z*c*k*d*s with c=1, k=1, d=1, s=1"],
    "p*q*r*t*u*v*z": ["p*q*r*t*u*v*z with p=1, q=1, r=1, t=1, u=1, v=1"],
    "p*q*r*t*u*v*w*z": [],
    "p*q": [],
    "z.x": [],
    "np.foo(z)": [],
    "f(x)": ["f(z)"],
    "z": [],
    "a": [],
    "rho": [],
    "m*exp(-rho)": [],
    "c*tau*z": ["c*tau*z with c=1, tau=1"],
    "lambda_*z": ["lambda_*z with lambda=1"],
    "x_1*z": ["x_1*z with x_1=1"],
    "alpha*rho+a": ["alpha*rho+a with alpha=1, rho=1"],
}  # fmt: skip


def test_proposals() -> None:
    for text, proposed in PROPOSED.items():
        assert list(proposals(text, {})) == proposed, text


def test_values_that_are_given_stay() -> None:
    given = {"c": "2"}
    assert list(proposals("c*exp(-k*x)", given)) == ["c*exp(-k*z)", "c*exp(-k*z) with c=2, k=1"]
    assert list(proposals("c*exp(-z", given)) == ["c*exp(-z)", "c*exp(-z) with c=2"]
    assert list(proposals("c*exp(-k*z)", given)) == ["c*exp(-k*z) with c=2, k=1"]


def test_names_that_are_no_words_of_a_formula() -> None:
    assert strangers("c*z+foo(k)+np.exp(a.x)+pi+exp", {}) == ["c", "k"]
    assert strangers("c*c+d", {"d": "1"}) == ["c"]
    assert strangers("torch.f(z)+E+b", {}) == []
