// The registry of objectives, its named inputs and parameters.
#include <gtest/gtest.h>

#include <map>

#include "ssl/losses/batch_contrastive.h"
#include "ssl/objectives/registry.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using ssl::Objective;
using ssl::ParamTexts;

// What a row of the registry lacks; empty when it is complete.
std::string fault_of(const Objective& row) {
  if (row.inputs.empty() && row.name != std::string("schedules")) return "inputs";
  for (const char* s : {row.name, row.system, row.paper, row.equation})
    if (std::string(s).size() <= 2u) return concat("a text of two letters: '", s, "'");
  return "";
}

// The mutants of this file: rows without inputs, and without a source.
TEST(Objectives, MutantsAreCaught) {
  Objective deaf = ssl::objective("nt_xent"), nameless = deaf;
  deaf.inputs = {};
  nameless.paper = "";
  EXPECT_NE(fault_of(deaf), "");
  EXPECT_NE(fault_of(nameless), "");
}

TEST(Objectives, RegistryListsInputsAndParameters) {
  EXPECT_EQ(ssl::find_objective("no_such_loss"), nullptr);
  expect_error([] { ssl::objective("nt_xnet"); }, {"nt_xnet", "did you mean nt_xent"});
  for (const Objective* row : ssl::objectives()) EXPECT_EQ(fault_of(*row), "") << row->name;
  ssl::Params listing("info_nce");
  ssl::objective("info_nce").list(listing);
  ASSERT_EQ(listing.infos().size(), 4u);
  EXPECT_EQ(listing.infos()[0].value, "0.07");
  EXPECT_EQ(listing.infos()[2].value, "\"queue\"");
  EXPECT_EQ(listing.infos()[2].choices.size(), 3u);
  const auto set = [](ParamTexts t) { ssl::Params("info_nce", std::move(t)).read<ssl::InfoNceParams>(); };
  expect_error([&] { set({{"temprature", "1"}}); }, {"info_nce", "temprature", "did you mean temperature"});
  expect_error([&] { set({{"temperature", "warm"}}); }, {"info_nce", "temperature", "a number", "warm"});
  expect_error([&] { set({{"symmetric", "1"}}); }, {"symmetric", "true or false"});
  expect_error([&] { set({{"negatives", "\"none\""}}); }, {"negatives", "queue, in_batch, both", "none"});
  ssl::Inputs in("nt_xent");
  in.add("z1", Var(normal({4, 6}, 1)));
  expect_error([&] { ssl::run_objective(ssl::objective("nt_xent"), in, {}); }, {"nt_xent", "z2", "missing"});
  in.add("z3", Var(normal({4, 6}, 1)));
  expect_error([&] { ssl::run_objective(ssl::objective("nt_xent"), in, {}); }, {"z3", "no such input"});
}

TEST(Objectives, ParametersOfEveryKindAreRead) {
  struct Everything {
    double a = 1;
    int64_t b = 2;
    std::optional<double> c = 0.5;
    std::vector<double> d{1, 2};
    std::vector<int64_t> e{3};
    std::vector<bool> f;
    std::vector<std::string> g{"x"};
    std::string h = "text";
    void fields(ssl::Params& p) {
      p("a", a), p("b", b), p("c", c), p("d", d), p("e", e), p("f", f), p("g", g), p("h", h);
    }
  };
  ssl::Params given("all", {{"a", "2e-3"},
                            {"b", "7.0"},
                            {"c", "null"},
                            {"d", "[0.5, 1]"},
                            {"e", "[]"},
                            {"f", "[true,false]"},
                            {"g", "[\"p\", \"q\"]"},
                            {"h", "\"word\""}});
  const auto e = given.read<Everything>();
  EXPECT_EQ(e.a, 2e-3);
  EXPECT_EQ(e.b, 7);
  EXPECT_FALSE(e.c.has_value());
  EXPECT_EQ(e.d, (std::vector<double>{0.5, 1}));
  EXPECT_TRUE(e.e.empty());
  EXPECT_EQ(e.f, (std::vector<bool>{true, false}));
  EXPECT_EQ(e.g, (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(e.h, "word");
  EXPECT_EQ(given.infos()[3].value, "[1, 2]");
  for (const auto& [name, bad] :
       ParamTexts{{"b", "1.5"}, {"c", "no"}, {"d", "1"}, {"e", "[1.5]"}, {"f", "[yes]"}})
    expect_error(
        [&, name = name, bad = bad] {
          ssl::Params("all", {{name, bad}}).read<Everything>();
        },
        {"all", name.c_str(), bad.c_str()});
}

// Shapes of state that must not hang on how many tensors there are, or on a momentum of 0.
TEST(Objectives, OptimizersOfOneTensorKeepTheShapesOfMany) {
  const auto outputs = [](const char* optimizer, ParamTexts params) {
    ssl::Inputs in(optimizer);
    in.add("p0", Var(normal({3}, 1)));
    in.add("grad0", Var(normal({2, 3}, 2)));
    params.emplace_back("lr", "[0.1, 0.2]");
    std::map<std::string, Dims> dims;
    for (const auto& [name, value] : ssl::run_objective(ssl::objective(optimizer), in, params).terms)
      dims[name] = value.dims();
    return dims;
  };
  EXPECT_EQ(outputs("am_adamw", {})["beta"], Dims({2, 1}));
  EXPECT_EQ(outputs("am_sgd", {{"scope", "tensor"}})["beta"], Dims({2, 1}));
  EXPECT_EQ(outputs("am_sgd", {})["beta"], Dims({2}));
  EXPECT_EQ(outputs("lars", {{"momentum", "0"}}).count("mu0"), 1u);
  EXPECT_EQ(outputs("sgd", {{"momentum", "0"}}).count("buf0"), 0u);
}

}  // namespace
}  // namespace juxta::test
