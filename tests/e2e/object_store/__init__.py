"""Object stores for tests: a real S3 server (Versity S3 Gateway), an emulator of Azure (Azurite), a double of Google
Cloud Storage; and a proxy that applies faults.
"""
