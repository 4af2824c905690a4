// The juxta program as a person meets it: runs, resumes, interruptions, and one readable line with status 2
// for every mistake.
#include <gtest/gtest-spi.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "nn/encoder.h"
#include "ssl/objectives/registry.h"
#include "ssl/objectives/verify.h"
#include "ssl/train/checkpoint.h"
#include "tensor/file.h"
#include "tensor/npy.h"
#include "tensor/safetensors.h"
#include "tests/harness.h"
#include "tests/program.h"

namespace juxta::test {
namespace {

namespace fs = std::filesystem;

TEST(Program, HelpVersionAndLists) {
  const TempDir dir;
  const Outcome help = juxta_shell(dir, "--help");
  EXPECT_EQ(help.status, 0);
  for (const char* c : {"train", "eval", "embed", "inspect", "models", "recipes"})
    EXPECT_NE(help.out.find(c), std::string::npos) << c;
  EXPECT_NE(juxta_shell(dir, "--version").out.find("juxta 0."), std::string::npos);
  EXPECT_NE(juxta_shell(dir, "models").out.find("vit_tiny_patch16_224"), std::string::npos);
  const Outcome recipes = juxta_shell(dir, "recipes");
  for (const char* c : {"simclr_fashion_mnist", "simclr", "moco", "byol"})
    EXPECT_NE(recipes.out.find(c), std::string::npos) << c;
  EXPECT_NE(juxta_shell(dir, "eval --help").out.find("k = 20"), std::string::npos);
}

TEST(Program, TrainEvalEmbedInspect) {
  const TempDir dir;
  write_data(dir / "data");
  const Outcome train = juxta_shell(dir, run_arguments(dir, "run", "--set train.epochs=3"));
  ASSERT_EQ(train.status, 0) << train.err;
  for (const char* f : {"recipe.toml", "metrics.jsonl", "checkpoint-00000012.safetensors"})
    EXPECT_TRUE(fs::exists(dir / ("run/" + std::string(f)))) << f;
  const Outcome eval = juxta_shell(dir, "eval " + (dir / "run") + " --json");
  ASSERT_EQ(eval.status, 0) << eval.err;
  const nlohmann::json j = nlohmann::json::parse(eval.out);
  for (const char* key : {"knn_top1", "linear_top1", "linear_10_per_class"}) {
    for (const nlohmann::json& part : {j, j["untrained"], j["raw_pixels"]}) {
      ASSERT_TRUE(part.contains(key)) << key;
      EXPECT_GE(part[key].get<double>(), 0.3);
      EXPECT_LE(part[key].get<double>(), 1.0);
    }
  }
  for (const char* key : {"rankme", "alignment", "uniformity"}) EXPECT_TRUE(j.at(key).is_number()) << key;
  EXPECT_GT(j["raw_pixels"]["linear_top1"], 0.95);  // the classes are linearly separable
  ASSERT_EQ(
      juxta_shell(dir, "embed " + (dir / "run") + " --data " + (dir / "data") + " -o " + (dir / "f.npy"))
          .status,
      0);
  EXPECT_EQ(load_npy(dir / "f.npy").dims(), Dims({64, 16}));
  const Outcome inspect = juxta_shell(dir, "inspect " + (dir / "run/checkpoint-00000012.safetensors"));
  EXPECT_NE(inspect.out.find("method.encoder.conv1.weight"), std::string::npos);
  EXPECT_NE(inspect.out.find("[train]"), std::string::npos);
  const Outcome recipe = juxta_shell(dir, "inspect --recipe simclr_fashion_mnist --set train.batch=8");
  EXPECT_NE(recipe.out.find("saved for backward"), std::string::npos) << recipe.err;
}

TEST(Program, EveryMethodResumesBitForBit) {
  const TempDir dir;
  write_data(dir / "data");
  const std::pair<const char*, const char*> recipes[] = {
      {"simclr_cifar10", ""},
      {"moco_cifar10", "--set method.queue=48 --set method.bn_groups=2"},
      {"byol_cifar10", "--set method.projection_hidden=16"}};
  for (const auto& [recipe, options] : recipes) {
    const std::string method = recipe;
    const std::string base = "--set train.epochs=3 --set train.monitor_every=0 " + std::string(options);
    const auto arguments = [&](const std::string& out, const std::string& more) {
      return run_arguments(dir, out, base + more, method);
    };
    fs::remove_all(dir / "a");
    fs::remove_all(dir / "b");
    ASSERT_EQ(juxta_shell(dir, arguments("a", "")).status, 0) << method << text_of(dir / "err.txt");
    // The same run, killed by its time limit after the first step it finishes, then resumed.
    ASSERT_EQ(juxta_shell(dir, arguments("b", " --set train.max_seconds=1e-6")).status, 0);
    const auto half = ssl::checkpoint_files(dir / "b");
    ASSERT_EQ(half.size(), 1u);
    EXPECT_EQ(ssl::read_checkpoint(half[0]).step, 1);
    ASSERT_EQ(
        juxta_shell(dir,
                    arguments("b", " --set train.max_seconds=0 --resume --set train.workers=2 --threads 1"))
            .status,
        0);
    const ssl::Checkpoint a = ssl::load_checkpoint(dir / "a"), b = ssl::load_checkpoint(dir / "b");
    EXPECT_EQ(a.step, 12);
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (size_t i = 0; i < a.tensors.size(); ++i) {
      EXPECT_EQ(a.tensors[i].first, b.tensors[i].first);
      EXPECT_TRUE(same_bits(a.tensors[i].second, b.tensors[i].second)) << method << " " << a.tensors[i].first;
    }
  }
}

// One golden case of every objective through `juxta loss`: what the file holds is computed, printed and
// written, in the file's shapes.
TEST(Program, LossKnowsEveryObjective) {
  const TempDir dir;
  for (const ssl::Objective* row : ssl::objectives()) {
    const SafeTensors golden =
        load_safetensors(std::string(JUXTA_TEST_DATA) + "/golden/" + row->name + ".safetensors");
    const std::string name = ssl::golden_cases(golden).at(0);
    SafeTensors inputs;
    for (const auto& [key, value] : golden.tensors)
      if (const std::string in = name + "/in/"; key.rfind(in, 0) == 0)
        inputs.tensors.emplace_back(key.substr(in.size()), value);
    save_safetensors(dir / "in.safetensors", inputs);
    std::string command = std::string("loss ") + row->name + " --json --input " + (dir / "in.safetensors") +
                          " -o " + (dir / "out.safetensors");
    const auto params = nlohmann::json::parse(golden.metadata.at(name));
    for (const auto& [key, value] : params.items()) command += " --set '" + key + "=" + value.dump() + "'";
    const Outcome o = juxta_shell(dir, command);
    ASSERT_EQ(o.status, 0) << command << "\n" << o.err;
    EXPECT_TRUE(nlohmann::json::accept(o.out)) << row->name << "\n" << o.out;
    const SafeTensors written = load_safetensors(dir / "out.safetensors");
    for (const auto& [key, value] : golden.tensors)
      if (const std::string out = name + "/out/"; key.rfind(out, 0) == 0) {
        const Tensor* got = written.find(key.substr(out.size()));
        ASSERT_NE(got, nullptr) << row->name << ": " << key;
        EXPECT_EQ(got->dims(), value.dims()) << row->name << ": " << key;
      }
  }
}

TEST(Program, CtrlCSavesAndExitsCleanly) {
  const TempDir dir;
  write_data(dir / "data");
  // Started in the background and signalled once it has logged a step, however long that takes on a busy
  // machine.
  const std::string arguments =
      run_arguments(dir, "run", "--set train.epochs=100000 --set train.monitor_every=0");
  const std::string command = std::string(JUXTA_BINARY_DIR) + "/bin/juxta " + arguments + " >" +
                              (dir / "out.txt") + " 2>&1 & pid=$!; for i in $(seq 600); do [ -s " +
                              (dir / "run/metrics.jsonl") +
                              " ] && break; sleep 0.1; done; kill -INT $pid; wait $pid";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 0);
  const std::string out = text_of(dir / "out.txt");
  EXPECT_NE(out.find("interrupted and saved"), std::string::npos) << out;
  EXPECT_EQ(ssl::checkpoint_files(dir / "run").size(), 1u);
}

TEST(Program, MistakesAreOneLineAndStatus2) {
  const TempDir dir;
  write_data(dir / "data");
  const std::string data = " --data " + (dir / "data"), out = " --out " + (dir / "r");
  expect_bad_input(dir, "trian simclr", {"'trian'", "did you mean 'train'"});
  expect_bad_input(dir, "--hepl", {"'--hepl'", "did you mean '--help'"});
  expect_bad_input(dir, "train", {"RECIPE", "required", "juxta --help"});
  expect_bad_input(dir, "eval run --jsno", {"--jsno", "juxta --help"});
  expect_bad_input(dir, "train simclr --threads 0", {"--threads", "not in range 1 to 4096"});
  expect_bad_input(dir, "train no_such_recipe" + data, {"no_such_recipe"});
  expect_bad_input(dir, "train simclr_fashion_mnst" + data, {"did you mean 'simclr_fashion_mnist'"});
  expect_bad_input(dir, "train simclr_fashion_mnist --data /nowhere" + out, {"/nowhere", "no such"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set train.epoch=3"), {"train.epoch", "train.epochs"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set train.epochs=many"),
                   {"train.epochs", "an integer", "many"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set method.temprature=1"), {"method.temperature"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set train.batch=1"), {"train.batch", "at least 2"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set model.name=vit_tiny --set train.batch=1"),
                   {"train.batch", "at least 2"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set train.epochs=9223372036854775807"),
                   {"train.epochs", "0 to"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set train.workers=100000"), {"train.workers", "0 to 256"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set view.min_crop=-1"), {"view.min_crop", "above 0"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set train.batch=65"), {"train.batch", "65", "64"});
  expect_bad_input(dir, run_arguments(dir, "r", "--set method.temperature=0"), {"temperature"});
  expect_bad_input(dir, "eval /nowhere", {"/nowhere"});
  expect_bad_input(dir, "eval " + (dir / "data"), {"no checkpoint"});
  expect_bad_input(dir, "inspect " + (dir / "data/train.npy"), {"train.npy", "safetensors"});
  expect_bad_input(dir,
                   "embed --model resnet18 --weights " + (dir / "none") + " --data " +
                       (dir / "data/train.npy") + " -o " + (dir / "f.npy"),
                   {"none"});
  Tensor bad = load_npy(dir / "data/train.npy");
  bad.write<float>("test")[100] = NAN;
  save_npy(dir / "data/train.npy", bad);
  expect_bad_input(dir, run_arguments(dir, "r", ""), {"train.npy", "[0, 1]"});
  EXPECT_FALSE(fs::exists(dir / "r/checkpoint-00000000.safetensors"));
  EXPECT_EQ(juxta_shell(dir, "frobnicate").status, 2);
  EXPECT_EQ(juxta_shell(dir, "").status, 2);
}

// The mutant of this file: an error that is about something else.
TEST(Program, MutantIsCaught) {
  const auto told_otherwise = [] {
    const TempDir dir;
    expect_bad_input(dir, "eval /nowhere", {"/somewhere"});
  };
  EXPECT_NONFATAL_FAILURE(told_otherwise(), "'/somewhere' is missing");
}

TEST(Program, EmbedOfAnArrayRefusesWhatHasNoFeatures) {
  const TempDir dir;
  SafeTensors weights;
  Rng init(1, "init");
  const auto encoder = nn::make_encoder({.name = "resnet20", .width = 4}, init);
  for (const auto& [name, t] : nn::state_dict(nn::named_state(*encoder)))
    weights.tensors.emplace_back(name, t);
  const auto embed = [&](const Tensor& x, const std::string& more = "") {
    save_npy(dir / "x.npy", x);
    return "embed --model resnet20 --weights " + (dir / "w.safetensors") + " --data " + (dir / "x.npy") +
           " -o " + (dir / "f.npy") + more;
  };
  save_safetensors(dir / "w.safetensors", weights);
  for (const Dims& empty : {Dims{3, 32, 32, 0}, Dims{0, 32, 32, 3}, Dims{2, 0, 0, 3}})
    expect_bad_input(dir, embed(Tensor::zeros(empty)), {"x.npy", "empty axis"});
  Tensor bad = Tensor::zeros({2, 8, 8, 3});
  bad.write<float>("test")[7] = NAN;
  expect_bad_input(dir, embed(bad), {"x.npy", "element 7", "finite"});
  const Tensor good = Tensor::zeros({2, 8, 8, 3});
  expect_bad_input(dir, embed(good, " --split test"), {"--split", "RUN"});
  expect_bad_input(dir, embed(good) + "/no/such/folder/f.npy", {"cannot create", "folder"});
  weights.tensors[0].second = Tensor::full(weights.tensors[0].second.dims(), NAN);
  save_safetensors(dir / "w.safetensors", weights);
  expect_bad_input(dir, embed(good), {"w.safetensors", "conv1.weight", "finite"});
  EXPECT_FALSE(fs::exists(dir / "f.npy"));
  expect_bad_input(dir, "inspect " + (dir / "w.safetensors") + " --set train.batch=8", {"--set", "--recipe"});
}

// Sides down to one pixel, through every stride of an ImageNet stem.
TEST(Program, TheSmallestImagesTrain) {
  const TempDir dir;
  write_data(dir / "data");
  for (const char* model : {"--set view.size=1", "--set view.size=2", "--set model.stem=imagenet"}) {
    fs::remove_all(dir / "r");
    const Outcome o = juxta_shell(
        dir, run_arguments(dir, "r", std::string("--set train.max_steps=1 --set optim.lr=1e-4 ") + model));
    EXPECT_EQ(o.status, 0) << model << "\n" << o.err;
  }
}

TEST(Program, ScoresAreNotLostToAFullDiskOrAClosedPipe) {
  const TempDir dir;
  write_data(dir / "data");
  ASSERT_EQ(juxta_shell(dir, run_arguments(dir, "run", "--set train.epochs=1")).status, 0);
  // 8 blocks of 512 bytes hold the scores, not the pictures.
  const std::string limit = "ulimit -f 8; trap '' XFSZ; ";
  const Outcome eval = juxta_shell(dir, "eval " + (dir / "run") + " --json", limit);
  EXPECT_EQ(eval.status, 2);
  EXPECT_NE(eval.err.find("cannot write"), std::string::npos) << eval.err;
  EXPECT_TRUE(nlohmann::json::parse(eval.out).contains("knn_top1"));
  EXPECT_TRUE(fs::exists(dir / "run/eval.json"));
  const std::string juxta = std::string(JUXTA_BINARY_DIR) + "/bin/juxta ";
  EXPECT_EQ(WEXITSTATUS(std::system((juxta + "models >/dev/full 2>" + (dir / "err.txt")).c_str())), 2);
  EXPECT_NE(text_of(dir / "err.txt").find("standard output"), std::string::npos);
  // Training goes on though nobody reads its lines.
  std::string arguments = run_arguments(dir, "piped", "--set train.epochs=1");
  arguments.erase(arguments.find("--quiet"), 7);
  std::ignore = std::system((juxta + arguments + " 2>&1 | true").c_str());
  EXPECT_EQ(ssl::load_checkpoint(dir / "piped").step, 4);
}

TEST(Program, InspectKnowsTheImagesOfTheData) {
  const TempDir dir;
  write_data(dir / "data");
  const std::string inspect =
      "inspect --recipe simclr_cifar10 --set train.batch=8 --set model.width=4 --data " + (dir / "data");
  const Outcome whole = juxta_shell(dir, inspect);
  EXPECT_NE(whole.out.find("images of 8 x 8 x 1"), std::string::npos) << whole.out << whole.err;
  EXPECT_NE(whole.out.find("[4, 1, 3, 3]"), std::string::npos) << whole.out;
  const auto saved = [](const std::string& text) {
    return std::stod(text.substr(text.find("saved for backward ") + 19));
  };
  const Outcome parts = juxta_shell(dir, inspect + " --set train.accumulate=4");
  EXPECT_LT(saved(parts.out), 0.5 * saved(whole.out)) << parts.out;
}

TEST(Program, NothingIsLostByABadCheckpointAnotherModelOrAFullDisk) {
  const TempDir dir;
  write_data(dir / "data");
  ASSERT_EQ(juxta_shell(dir, run_arguments(dir, "run", "--set train.epochs=1")).status, 0);
  const std::string checkpoint = dir / "run/checkpoint-00000004.safetensors";
  const std::string before = text_of(checkpoint);
  expect_bad_input(dir, run_arguments(dir, "run", "--set train.epochs=1"), {"--resume"});
  expect_bad_input(dir, run_arguments(dir, "run", "--set train.epochs=2 --set model.width=8 --resume"),
                   {"model.width", "8", "4"});
  expect_bad_input(dir, run_arguments(dir, "run", "--set train.epochs=2 --resume"), {"cannot write"},
                   "ulimit -f 8; trap '' XFSZ; ");
  EXPECT_EQ(text_of(checkpoint), before);
  write_file(checkpoint, before.substr(0, before.size() / 2));
  expect_bad_input(dir, "eval " + (dir / "run"), {"truncated"});
}

// A project of its own finds the installed package, compiles the standalone trainer of tools/examples and
// trains with it.
TEST(PackageSlow, AStandaloneTrainerBuildsAgainstTheInstalledPackage) {
  const TempDir dir;
  write_data(dir / "data");
  const std::string quiet = " >>" + (dir / "log.txt") + " 2>&1";
  const auto run = [&](const std::string& command) {
    EXPECT_EQ(std::system(("(" + command + ")" + quiet).c_str()), 0) << command << "\n"
                                                                     << text_of(dir / "log.txt");
  };
  run(std::string("cmake --install ") + JUXTA_BINARY_DIR + " --prefix " + (dir / "prefix"));
  run(std::string("cmake -G Ninja -S ") + JUXTA_SOURCE_DIR + "/tools/examples -B " + (dir / "build") +
      " -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=" + (dir / "prefix"));
  run("cmake --build " + (dir / "build"));
  run((dir / "build/tiny_simclr") + " /nowhere; test $? -eq 2");
  EXPECT_NE(text_of(dir / "log.txt").find("/nowhere"), std::string::npos);
  write_data(dir / "more", 160);
  run((dir / "build/tiny_simclr") + " " + (dir / "more") + " 2");
  EXPECT_NE(text_of(dir / "log.txt").find("kNN"), std::string::npos);
}

}  // namespace
}  // namespace juxta::test
