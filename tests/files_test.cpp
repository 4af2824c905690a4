// safetensors, .npy, atomic files and name suggestions; hostile input above all.
#include <fcntl.h>
#include <gtest/gtest-spi.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "tensor/file.h"
#include "tensor/npy.h"
#include "tensor/safetensors.h"
#include "tests/support.h"

namespace juxta::test {
namespace {

std::string safetensors_bytes(const std::string& header, const std::string& data) {
  std::string s;
  for (int i = 0; i < 8; ++i) s += static_cast<char>(header.size() >> (8 * i));
  return s + header + data;
}

void expect_bad(const std::string& bytes, std::initializer_list<const char*> parts) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  expect_error([&] { parse_safetensors(std::span(p, bytes.size()), "x.safetensors"); }, parts);
}

TEST(SafeTensors, RoundTripKeepsBitsNamesOrderAndMetadata) {
  const TempDir dir;
  SafeTensors f;
  f.metadata["recipe"] = "train.epochs = 4\n\"quoted\"";
  f.tensors.emplace_back("b.weight", normal({3, 5}, 1).to(DType::f32));
  f.tensors.emplace_back("a", normal({2, 1, 4}, 2).to(DType::bf16));
  f.tensors.emplace_back("ids", indices({7}, 3, 100));
  f.tensors.emplace_back("empty", Tensor::empty({0, 3}));
  f.tensors.emplace_back("scalar", Tensor::scalar(2.5, DType::f64));
  f.tensors.emplace_back("strided", normal({4, 6}, 4).transpose(0, 1));
  save_safetensors(dir / "m.safetensors", f);
  const SafeTensors g = load_safetensors(dir / "m.safetensors");
  EXPECT_EQ(g.metadata, f.metadata);
  ASSERT_EQ(g.tensors.size(), f.tensors.size());
  for (const auto& [name, t] : f.tensors) EXPECT_TRUE(same_bits(g.at(name), t)) << name;
  expect_error([&] { g.at("b.wieght"); }, {"b.wieght", "b.weight"});
}

TEST(SafeTensors, HostileHeadersAreOneClearError) {
  expect_bad("", {"x.safetensors", "0 bytes"});
  expect_bad(std::string(8, '\xff'), {"header claims"});
  expect_bad(safetensors_bytes("{not json", ""), {"JSON"});
  expect_bad(safetensors_bytes("[1]", ""), {"JSON object"});
  expect_bad(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234"),
             {"'a'", "truncated"});
  expect_bad(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "12345678"),
             {"data_offsets"});
  expect_bad(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "12345678"),
             {"expected 12"});
  expect_bad(
      safetensors_bytes(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", ""),
      {"overflows"});
  expect_bad(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}})", ""),
             {"non-negative"});
  expect_bad(safetensors_bytes(R"({"a":{"dtype":"Q7","shape":[],"data_offsets":[0,4]}})", "1234"), {"Q7"});
  expect_bad(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                               R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                               "123456"),
             {"overlaps"});
  expect_bad(safetensors_bytes(R"({"__metadata__":{"k":3}})", ""), {"__metadata__", "'k'"});
}

// The mutants of this file: a reader that takes what it should refuse, and a message about something else.
TEST(SafeTensors, MutantsAreCaught) {
  const std::string good =
      safetensors_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234");
  const auto taken = [&] { expect_bad(good, {"x.safetensors"}); };
  EXPECT_NONFATAL_FAILURE(taken(), "expected an Error, got none");
  const auto misnamed = [] { expect_bad(std::string(8, '\xff'), {"JSON"}); };
  EXPECT_NONFATAL_FAILURE(misnamed(), "'JSON' is missing");
}

TEST(SafeTensors, EveryTruncationIsAnErrorAndDamageIsSeen) {
  const TempDir dir;
  SafeTensors f;
  f.tensors.emplace_back("w", normal({8}, 1).to(DType::f32));
  save_safetensors(dir / "m", f);
  std::vector<unsigned char> bytes = read_file(dir / "m");
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_THROW(parse_safetensors(std::span(bytes).first(n), "m"), Error) << n;
  bytes.back() ^= 1;
  expect_error([&] { parse_safetensors(bytes, "m"); }, {"'w'", "checksum"});
}

TEST(SafeTensors, BytesBehindTheLastTensorAreDamage) {
  const std::string header = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  const std::string good = safetensors_bytes(header, "xy");
  const auto* p = reinterpret_cast<const unsigned char*>(good.data());
  EXPECT_EQ(parse_safetensors(std::span(p, good.size()), "x").tensors.size(), 1u);
  expect_bad(good + "z", {"x.safetensors", "1 bytes", "damaged"});
}

TEST(Npy, RoundTripAndFortranOrder) {
  const TempDir dir;
  for (DType d : {DType::f32, DType::f64, DType::f16, DType::i64, DType::i32, DType::u8, DType::boolean}) {
    const Tensor t = indices({3, 4}, 5, 2).to(d);
    save_npy(dir / "t.npy", t);
    EXPECT_TRUE(same_bits(load_npy(dir / "t.npy"), t)) << name_of(d);
  }
  save_npy(dir / "s.npy", Tensor::scalar(3.0));
  EXPECT_EQ(load_npy(dir / "s.npy").item(), 3.0);
  std::string header = "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }\n";
  const int32_t data[6] = {0, 1, 2, 3, 4, 5};  // columns first
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size());
  file += '\0';
  file += header + std::string(reinterpret_cast<const char*>(data), sizeof data);
  write_file(dir / "f.npy", file);
  EXPECT_EQ(load_npy(dir / "f.npy").at({0, 1}), 2.0);
  EXPECT_EQ(load_npy(dir / "f.npy").at({1, 2}), 5.0);
}

TEST(Npy, IntegersOfOtherWidthsAreWidened) {
  const TempDir dir;
  const auto read = [&](const std::string& type, const std::string& bytes) {
    std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (2,), }\n";
    std::string file("\x93NUMPY\x01\x00", 8);
    file += static_cast<char>(header.size());
    file += '\0';
    write_file(dir / "t.npy", file + header + bytes);
    return load_npy(dir / "t.npy");
  };
  EXPECT_TRUE(same_bits(read("|i1", "\x05\xfe"), Tensor::from<int32_t>({5, -2}, {2})));
  EXPECT_TRUE(same_bits(read("<i2", "\x05\x01\xfe\xff"), Tensor::from<int32_t>({261, -2}, {2})));
  EXPECT_TRUE(same_bits(read("<u2", "\x05\x01\xfe\xff"), Tensor::from<int32_t>({261, 65534}, {2})));
  EXPECT_TRUE(same_bits(read("<u4", std::string("\1\0\0\0\xff\xff\xff\xff", 8)),
                        Tensor::from<int64_t>({1, 4294967295}, {2})));
  EXPECT_TRUE(same_bits(read("<u8", std::string("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16)),
                        Tensor::from<int64_t>({1, 2}, {2})));
  expect_error([&] { read("<u8", std::string(16, '\xff')); }, {"t.npy", "element 0", "2^63"});
}

TEST(Npy, BadFilesAreNamed) {
  const TempDir dir;
  expect_error([&] { load_npy(dir / "none.npy"); }, {"none.npy", "No such file"});
  write_file(dir / "a.npy", "hello, I am text");
  expect_error([&] { load_npy(dir / "a.npy"); }, {"a.npy", "magic"});
  save_npy(dir / "b.npy", Tensor::zeros({100}));
  std::vector<unsigned char> bytes = read_file(dir / "b.npy");
  for (size_t n = 0; n < bytes.size(); n += 7) {
    write_file(dir / "c.npy", std::string(bytes.begin(), bytes.begin() + static_cast<long>(n)));
    EXPECT_THROW(load_npy(dir / "c.npy"), Error) << n;
  }
  expect_error([&] { save_npy(dir / "d.npy", Tensor::zeros({1}, DType::bf16)); }, {"bf16"});
}

TEST(AtomicFile, AFullDiskLeavesTheOldFile) {
  const TempDir dir;
  write_file(dir / "keep", "old content");
  // A file-size limit fails writes as a full disk does, at a place the test can choose.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  SafeTensors f;
  f.tensors.emplace_back("w", Tensor::zeros({100000}));
  EXPECT_THROW(save_safetensors(dir / "keep", f), Error);
  setrlimit(RLIMIT_FSIZE, &before);
  const auto bytes = read_file(dir / "keep");
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "old content");
}

// A pipe stays a pipe: a rename would put a file in its place.
TEST(AtomicFile, ADeviceOrPipeIsWrittenInPlace) {
  const TempDir dir;
  const std::string pipe = dir / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  write_file(pipe, "through");
  char text[16] = {};
  EXPECT_EQ(read(reader, text, sizeof text), 7);
  EXPECT_STREQ(text, "through");
  close(reader);
  struct stat info {};
  ASSERT_EQ(stat(pipe.c_str(), &info), 0);
  EXPECT_TRUE(S_ISFIFO(info.st_mode));
}

TEST(AtomicFile, AMissingFolderIsNamed) {
  expect_error([] { write_file("/nonexistent-folder/x", "y"); }, {"/nonexistent-folder/x", "No such file"});
  expect_error([] { read_file("/"); }, {"/", "folder"});
}

TEST(NearestName, FindsTyposAndRefusesStrangers) {
  const std::vector<std::string> names{"train.epochs", "train.batch", "optim.lr"};
  EXPECT_EQ(nearest_name("train.epoch", names), "train.epochs");
  EXPECT_EQ(nearest_name("optim.rl", names), "optim.lr");
  EXPECT_EQ(nearest_name("zzz", names), "");
}

}  // namespace
}  // namespace juxta::test
