# formula.rb FORMULA ARCHIVE PREFIX: reads the formula as Homebrew does, for each machine, and installs it from ARCHIVE into PREFIX.
require "fileutils"
require "tmpdir"

class Folder
  def initialize(path) = (@path = path)

  def /(name) = File.join(@path, name)

  def to_s = @path

  def install(*files)
    FileUtils.mkdir_p(@path)
    files.flatten.each do |file|
      pairs = file.is_a?(Hash) ? file.to_a : [[file, File.basename(file)]]
      pairs.each { |from, to| FileUtils.cp(from, File.join(@path, to)) }
    end
  end
end

class Formula
  class << self
    attr_reader :said, :tried

    def inherited(formula) = formula.instance_variable_set(:@said, {})

    %i[desc homepage version license url sha256].each do |name|
      define_method(name) do |value = nil|
        @said[[*@machine, name]] = value if value
        @said[[name]]
      end
    end

    { on_macos: :macos, on_linux: :linux, on_arm: :arm, on_intel: :intel }.each do |name, machine|
      define_method(name) do |&block|
        before = @machine
        @machine = [*@machine, machine]
        instance_eval(&block)
        @machine = before
      end
    end

    def test(&block) = (@tried = block)
  end

  def initialize(prefix) = (@prefix = prefix)

  { bin: "bin", man1: "share/man/man1", bash_completion: "etc/bash_completion.d", zsh_completion: "share/zsh/site-functions",
    fish_completion: "share/fish/vendor_completions.d", doc: "share/doc/smsotp" }.each do |name, folder|
    define_method(name) { Folder.new(File.join(@prefix, folder)) }
  end

  def version = self.class.version

  def shell_output(line)
    output = `#{line}`
    raise "#{line} failed" unless $?.success?
    output
  end

  def assert_match(part, text) = (raise "#{text} has no #{part}" unless text.include?(part))

  def system(*line) = (raise "#{line} failed" unless Kernel.system(*line, out: File::NULL))
end

formula, archive, prefix = ARGV
load formula
Smsotp.said.each { |key, value| puts "#{key.join(' ')}: #{value}" }
Dir.mktmpdir do |folder|
  Kernel.system("tar", "-xzf", archive, "-C", folder, exception: true)
  # Homebrew goes into the only folder of an archive.
  Dir.chdir(Dir.glob("#{folder}/*").first) { Smsotp.new(prefix).install }
  Dir.chdir(folder) { Smsotp.new(prefix).instance_eval(&Smsotp.tried) }
end
